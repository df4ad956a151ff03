"""Read Envoy's counters of each function."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcf.dataplane.admin import get
from dcf.errors import EnvoyFailed
from dcf.model.traffic import Latency, Traffic

QUERY = "/stats?format=json&usedonly&histogram_buckets=cumulative&filter=^cluster%5C.[a-z]"
"""All counters of functions: the names of their clusters begin with a lowercase letter."""

_TIME = "upstream_rq_time"


def fetch(admin: Path, timeout: float) -> dict[str, Traffic]:
    """Return Envoy's current counters. This blocks.

    Latencies are up to a second old, all other counters are exact.

    Args:
        admin: Path of Envoy's administration socket.
        timeout: Maximum seconds without any data.

    Returns:
        The traffic of each function that was ever called, by name.

    Raises:
        EnvoyFailed: If Envoy does not answer, or not as expected.
    """
    status, body = get(admin, QUERY, timeout)
    if status != 200:  # noqa: PLR2004  HTTP's OK
        raise EnvoyFailed(f"Envoy answers {status} to {QUERY}")
    return parse(body)


def parse(body: bytes) -> dict[str, Traffic]:
    """Read Envoy's reply to :data:`QUERY`.

    Raises:
        EnvoyFailed: If it is invalid.
    """
    numbers: dict[str, dict[str, int]] = {}
    latencies: dict[str, Latency] = {}
    try:
        for item in json.loads(body)["stats"]:
            if "histograms" in item:
                latencies.update(_latencies(item["histograms"]))
                continue
            name, counted = _split(item["name"])
            if name:
                numbers.setdefault(name, {})[counted] = item["value"]
    except (ValueError, LookupError, TypeError) as error:
        raise EnvoyFailed(f"Envoy's statistics cannot be read: {error!r}") from error
    return {name: _traffic(counted, latencies.get(name)) for name, counted in numbers.items()}


def _split(name: str) -> tuple[str, str]:
    """Return function and counter of a full name; empty for Envoy's detailed counters."""
    match name.split("."):
        case ["cluster", function, counted]:
            return function, counted
    return "", ""


def _traffic(counted: Mapping[str, int], latency: Latency | None) -> Traffic:
    def of(*names: str) -> int:
        return sum(counted.get(f"upstream_{name}", 0) for name in names)

    return Traffic(
        # An attempt whose connection failed is not counted, so its retry must not be subtracted.
        calls=max(0, of("rq_total") - of("rq_retry") + of("rq_pending_failure_eject")),
        attempts=of("rq_total"),
        in_flight=of("rq_active"),
        waiting=of("rq_pending_active"),
        # 100 is a watcher's mark that a call begins, not a reply.
        succeeded=of("rq_1xx", "rq_2xx", "rq_3xx") - of("rq_100"),
        client_errors=of("rq_4xx"),
        server_errors=of("rq_5xx"),
        unreachable=of("cx_connect_fail"),
        broken=of("cx_destroy_remote_with_active_rq"),
        no_replica=of("cx_none_healthy"),
        overflowed=of("rq_pending_overflow"),
        retried=of("rq_retry"),
        latency=latency or Latency(),
    )


def _latencies(histograms: Any) -> dict[str, Latency]:
    latencies = {}
    # A single object or a list, depending on Envoy's version.
    for histogram in histograms if isinstance(histograms, list) else []:
        name, counted = _split(histogram["name"])
        if counted == _TIME:
            latencies[name] = _latency(histogram["buckets"])
    return latencies


def _latency(buckets: Sequence[Mapping[str, Any]]) -> Latency:
    """Convert milliseconds to seconds. Calls above the last bound go to the infinite bucket."""
    bounds: dict[float, int] = {}
    total, below, shorter = 0.0, 0.0, 0
    for bucket in buckets:
        upper, count = float(bucket["upper_bound"]) / 1000, int(bucket["cumulative"])
        if math.isfinite(upper):
            total += (count - shorter) * (below + upper) / 2
            below = upper
        else:
            total += (count - shorter) * below
        shorter = count
        bounds[upper] = count
    if bounds and math.inf not in bounds:
        bounds[math.inf] = shorter
    return Latency(bounds, total)
