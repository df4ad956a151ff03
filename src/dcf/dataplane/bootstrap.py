"""Envoy's bootstrap configuration: listeners, fixed clusters, and the discovery service.

It stays the same for the life of a gateway. Everything that changes (functions, their replicas and
limits) comes from the discovery service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcf.dataplane.activation_listener import asking_listener, cold_clusters, cold_listener
from dcf.dataplane.grpc import BRIDGE, GRPC, STREAMS
from dcf.dataplane.jwt_auth import KEYS
from dcf.dataplane.listener import CONTROL, NO_REVISION, private_listener, public_listener
from dcf.dataplane.local_replies import CALLS
from dcf.dataplane.overload import overload_manager
from dcf.files.atomic import replace_file
from dcf.settings import DataplaneSettings

DISCOVERY = "Discovery"
"""The discovery service's cluster."""

CONTROL_TIMEOUT = 5.0
"""Seconds for the control plane to answer a call that cannot be routed to a function."""

_TYPE = "type.googleapis.com/envoy."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

RUNTIME = {"re2.max_program_size.error_level": 100_000}
"""By default Envoy rejects regular expressions of more than 100 instructions. A host name takes one
or two for each letter. These expressions come from the gateway's owner, not from a client."""

CLUSTER_STATISTICS = (
    "upstream_rq_total",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_failure_eject",
    "upstream_rq_100",
    "upstream_rq_retry",
    "upstream_rq_1xx",
    "upstream_rq_2xx",
    "upstream_rq_3xx",
    "upstream_rq_4xx",
    "upstream_rq_5xx",
    "upstream_rq_time",
    "upstream_cx_connect_fail",
    "upstream_cx_destroy_remote_with_active_rq",
    "upstream_cx_none_healthy",
)
"""Envoy's counters for each function (Envoy's manual: cluster stats)."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The Unix sockets of a gateway, in a private folder.

    Attributes:
        control: The control plane's HTTP server.
        discovery: The control plane's discovery service.
        grpc: The control plane's gRPC server.
        bridge: The bridge's server.
        keys: The control plane's server for the set of keys. Clients cannot reach it.
        admin: Envoy's administration interface.
        calls: Envoy's private listener, where replicas call other functions.
        cold: Envoy's activation listener, which holds calls.
        ask: Envoy's listener that forwards questions about held calls to ``hold``.
        hold: The control plane's service that decides about held calls.
        supervisor: The supervisor's server. Envoy does not use it.
    """

    control: Path
    discovery: Path
    grpc: Path
    bridge: Path
    keys: Path
    admin: Path
    calls: Path
    cold: Path
    ask: Path
    hold: Path
    supervisor: Path

    @classmethod
    def under(cls, folder: Path) -> Sockets:
        """Return the sockets in a folder."""
        return cls(**{name: folder / f"{name}.sock" for name in cls.__slots__})


def write(path: Path, settings: DataplaneSettings, sockets: Sockets) -> None:
    """Write Envoy's configuration. Only this user can read it.

    Raises:
        OSError: If it cannot be written.
    """
    replace_file(path, json.dumps(bootstrap(settings, sockets), indent=1))


def bootstrap(settings: DataplaneSettings, sockets: Sockets) -> dict[str, Any]:
    """Return Envoy's configuration: its ``Bootstrap`` message, in JSON form."""
    source = {"ads": {}, "resource_api_version": "V3"}
    clusters = [
        _cluster(CONTROL, sockets.control, {"http_protocol_options": {}}),
        _calls(sockets.control),
        _cluster(DISCOVERY, sockets.discovery, {"http2_protocol_options": {}}),
        _cluster(GRPC, sockets.grpc, {"http2_protocol_options": {}}),
        _bridge(sockets.bridge),
        *cold_clusters(sockets.cold, sockets.ask, sockets.hold),
    ]
    if not settings.open:
        clusters.append(_cluster(KEYS, sockets.keys, {"http_protocol_options": {}}))
    return {
        "node": {"id": "gateway", "cluster": "dcf"},
        "admin": {"address": _pipe(sockets.admin)},
        "dynamic_resources": {
            "cds_config": source,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": DISCOVERY, **_fast_reconnect()}}],
                "set_node_on_first_message_only": True,
            },
        },
        "static_resources": {
            "listeners": [
                public_listener(settings),
                private_listener(settings, sockets.calls),
                cold_listener(settings, sockets.cold),
                asking_listener(settings, sockets.ask),
            ],
            "clusters": clusters,
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": RUNTIME}]},
        "overload_manager": overload_manager(settings),
        "stats_config": _statistics(),
        # Histograms are merged at this interval.
        "stats_flush_interval": "1s",
    }


def _fast_reconnect() -> dict[str, Any]:
    """Return the delays before Envoy reconnects. Its defaults grow to half a minute."""
    return {"retry_policy": {"retry_back_off": {"base_interval": "0.05s", "max_interval": "0.3s"}}}


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path), "mode": 0o600}}


def _cluster(name: str, path: Path, protocol: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}, "hostname": NO_REVISION}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": protocol,
            }
        },
    }


def _calls(path: Path) -> dict[str, Any]:
    """Return the control plane's cluster for calls that cannot be routed to a function.

    Logs and messages show the control plane's usual name.
    """
    cluster = {**_cluster(CALLS, path, {"http_protocol_options": {}}), "alt_stat_name": CONTROL}
    options = cluster["typed_extension_protocol_options"][_HTTP_OPTIONS]
    options["common_http_protocol_options"] = {"max_stream_duration": f"{CONTROL_TIMEOUT:g}s"}
    # Disable the retries of the calls' route: a late reply would be late again.
    return {**cluster, "circuit_breakers": {"thresholds": [{"max_retries": 0}]}}


def _bridge(path: Path) -> dict[str, Any]:
    most = {"max_connections": STREAMS, "max_requests": STREAMS, "max_retries": STREAMS}
    return {
        **_cluster(BRIDGE, path, {"http_protocol_options": {"enable_trailers": True}}),
        "circuit_breakers": {"thresholds": [most]},
    }


def _statistics() -> dict[str, Any]:
    bounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000]
    bounds.append(86_400_000)
    # Drop all other statistics: they are some hundred numbers for each function. The pattern also
    # drops those that Envoy repeats for internal and external clients.
    counted = rf"cluster\.[^.]+\.({'|'.join(CLUSTER_STATISTICS)})"
    kept: list[dict[str, Any]] = [{"safe_regex": {"regex": counted}}]
    kept += [
        {"prefix": prefix} for prefix in ("http.public.", "server.", "control_plane.", "overload.")
    ]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": kept}},
        "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": bounds}],
    }
