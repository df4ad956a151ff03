"""What Envoy has counted, function by function."""

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
"""All that was ever counted of clusters that are functions: those begin with a small letter."""

_TIME = "upstream_rq_time"


def fetch(admin: Path, timeout: float) -> dict[str, Traffic]:
    """Asks Envoy; blocks. Latencies are up to a second old, all else is not.

    Args:
        admin: Envoy's own socket.
        timeout: Seconds without a byte.

    Returns:
        The name of each function that was ever called to its traffic.

    Raises:
        EnvoyFailed: When Envoy does not answer, or not as expected.
    """
    status, body = get(admin, QUERY, timeout)
    if status != 200:  # noqa: PLR2004  HTTP's OK
        raise EnvoyFailed(f"Envoy answers {status} to {QUERY}")
    return parse(body)


def parse(body: bytes) -> dict[str, Traffic]:
    """Reads Envoy's answer to :data:`QUERY`.

    Raises:
        EnvoyFailed: When it is none.
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
    """Function and counter of a full name; nothing for Envoy's finer ones, which have more dots."""
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
    found = {}
    # A single object or a list, by Envoy's version.
    for histogram in histograms if isinstance(histograms, list) else []:
        name, counted = _split(histogram["name"])
        if counted == _TIME:
            found[name] = _latency(histogram["buckets"])
    return found


def _latency(buckets: Sequence[Mapping[str, Any]]) -> Latency:
    """From milliseconds to seconds; calls above the last bound are in the infinite bucket."""
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
