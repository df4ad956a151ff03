"""Where calls wait that meet no replica: a listener of Envoy's own, behind the other two.

Nothing of a warm call passes here. A call that comes here is asked about at the control plane
(:mod:`dcf.dataplane.checks`), from its headers alone; Envoy keeps its body back by flow control, so
it may be of any size, a stream or a WebSocket. Once it may go on, its route is looked up anew, and
leads to the replica that there is by now.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcf.dataplane.listener import (
    COLD,
    CONTROL,
    access_log,
    calls_route,
    pick,
    request_ids,
    router,
)
from dcf.dataplane.replies import local_replies
from dcf.protocol import http
from dcf.settings import DataplaneSettings

HOLD = "Hold"
"""The cluster of the service that decides. No function has a capital in its name."""

CLIENT = "x-dcf-client"
"""Tells the one listener what the other knows: the client's address, for the log."""

BUFFER = 65_536
"""Bytes kept of a held call on each side, so that thousands of them are some hundred MB."""

MOST = 1_000_000
"""Calls on the cold path, as far as Envoy counts: the control plane bounds those that are held, and
those that go on are bounded by their function."""

BACKLOG = 4096
"""Connections that may wait to be accepted: the calls of a burst come at one instant."""

RETRIES = 10
"""Times that Envoy asks again when the control plane does not answer. It is started again within a
second, in which Envoy asks some five times; the pauses double, up to half a minute in all."""

_TYPE = "type.googleapis.com/envoy."


def cold_listener(settings: DataplaneSettings, path: Path) -> dict[str, Any]:
    """The ``Listener`` message of the Unix socket, in JSON form."""
    manager: dict[str, Any] = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "cold",
        "route_config": {
            "name": "cold",
            "virtual_hosts": [
                {
                    "name": "cold",
                    "domains": ["*"],
                    "request_headers_to_remove": [CLIENT],
                    # A name that is still no cluster is one of whose calls nobody could say
                    # anything; the control plane tells what it knows.
                    "routes": [calls_route(settings, pick(CONTROL))],
                }
            ],
        },
        "http_filters": [_check(settings), router()],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": f"{settings.idle_stream:.0f}s",
        "original_ip_detection_extensions": [_original_ip()],
        "max_request_headers_kb": settings.headers + 8,  # what the other listener adds fits too
        **request_ids(),
        "server_header_transformation": "PASS_THROUGH",
        "local_reply_config": _replies(),
    }
    if settings.access_log:
        manager["access_log"] = [access_log()]
    return {
        "name": "cold",
        "address": {"pipe": {"path": str(path), "mode": 0o600}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        "per_connection_buffer_limit_bytes": BUFFER,
        "tcp_backlog_size": BACKLOG,
        # Its clients are counted where they come in.
        "ignore_global_conn_limit": True,
    }


def cold_clusters(listener: Path, service: Path) -> list[dict[str, Any]]:
    """The clusters behind it all: the listener itself, and the service that decides.

    Args:
        listener: Its Unix socket.
        service: The service's.
    """
    alive = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    cold = _cluster(COLD, listener, {"http_protocol_options": {}}, _tell_client())
    return [
        {**cold, "per_connection_buffer_limit_bytes": BUFFER},
        # A control plane that stands still is as good as none.
        _cluster(HOLD, service, {"http2_protocol_options": alive}),
    ]


def _check(settings: DataplaneSettings) -> dict[str, Any]:
    longest = f"{settings.idle_stream:.0f}s"
    return {
        "name": "hold",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": HOLD},
                # The service keeps the deadlines.
                "timeout": longest,
                "retry_policy": {
                    "retry_on": "connect-failure,refused-stream,reset,unavailable,cancelled",
                    "num_retries": RETRIES,
                    # Envoy takes the longest pause for the longest try as well.
                    "retry_back_off": {"base_interval": "0.05s", "max_interval": longest},
                },
            },
            "allowed_headers": {
                "patterns": [{"exact": name} for name in (http.REQUEST_ID, http.DEADLINE_MS)]
            },
            "clear_route_cache": True,
            # Where nobody decides, the route from before leads to the control plane, and Envoy
            # says that it is away.
            "failure_mode_allow": True,
        },
    }


def _replies() -> dict[str, Any]:
    refused = {"filter": {"response_flag_filter": {"flags": ["UAEX"]}}}
    return {"mappers": [refused, *local_replies()["mappers"]]}  # the service has said it all


def _tell_client() -> dict[str, Any]:
    header = {"key": CLIENT, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
    mutation = {"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    filters = f"{_TYPE}extensions.filters.http"
    return {
        "http_filters": [
            {
                "name": "client",
                "typed_config": {
                    "@type": f"{filters}.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [mutation]},
                },
            },
            {
                "name": "codec",
                "typed_config": {"@type": f"{filters}.upstream_codec.v3.UpstreamCodec"},
            },
        ]
    }


def _original_ip() -> dict[str, Any]:
    detection = f"{_TYPE}extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"
    return {"name": "client", "typed_config": {"@type": detection, "header_name": CLIENT}}


def _cluster(
    name: str, path: Path, protocol: dict[str, Any], more: dict[str, Any] | None = None
) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [dict.fromkeys(bounds, MOST)]},
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": protocol,
                **(more or {}),
            }
        },
    }
