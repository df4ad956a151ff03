"""The activation listener: Envoy holds calls here whose function has no ready replica.

It is behind the public and the private listener; warm calls do not pass it. For each held call,
Envoy asks the control plane (:mod:`dcf.dataplane.ext_authz_server`) and sends only the headers.
Flow control keeps the body back, so a held call may have any size, or be a stream or a WebSocket.
When the control plane releases a call, Envoy selects its route again, which then leads to the new
replica.

Envoy's questions pass through a second listener of its own. Only a route has a configurable retry
interval and no time limit, and a question takes until a replica is ready.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcf import errors
from dcf.dataplane.listener import (
    COLD,
    LINGER,
    NO_REVISION,
    access_log,
    calls_route,
    pick,
    request_ids,
    router,
    unhurried,
)
from dcf.dataplane.local_replies import CALLS, local_replies, mapper, status_is
from dcf.dataplane.route_timeouts import GRPC_TIMEOUT, deadline_filter
from dcf.protocol import http
from dcf.settings import DataplaneSettings

HOLD = "Hold"
"""The cluster of the control plane's service. No function's name contains a capital letter."""

ASK = "Ask"
"""The cluster of the listener that forwards Envoy's questions to that service."""

BUFFER = 65_536
"""Bytes buffered for a held call in each direction. 64 KiB: thousands of held calls need a few
hundred MB."""

MOST = 1_000_000
"""Envoy's limit for calls on the activation path. It is never reached: the control plane limits
held calls, and the function's own limits apply to released ones."""

BACKLOG = 4096
"""Connections that may wait to be accepted: the calls of a burst arrive at the same instant."""

HEADERS = 120
"""Maximum number of headers of a held request. The public listener accepts 100, Envoy's default,
and adds some."""

RETRIES = 50
"""Maximum number of times that Envoy asks again if the control plane does not answer. They take
some 12 s, longer than several restarts of the control plane."""

PAUSE = "0.5s"
"""Maximum pause between two questions, after which a restarted control plane gets them."""

LONGEST_MS = 86_400_000
"""Maximum milliseconds that a call is held, regardless of its deadline."""

SPARE_MS = 500
"""Milliseconds after a deadline in which the control plane can answer first, with more detail."""

_LATE = (
    errors.DeadlineExceeded,
    "No reply in time",
    "there was no ready replica before the deadline, and the control plane did not answer",
)

_TYPE = "type.googleapis.com/envoy."


def cold_listener(settings: DataplaneSettings, path: Path) -> dict[str, Any]:
    """Return the ``Listener`` message of the activation listener, in JSON form."""
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
                    "include_request_attempt_count": True,
                    "request_headers_to_remove": [http.CLIENT, GRPC_TIMEOUT],
                    # If the function still has no cluster, the route leads to the control plane,
                    # which answers with the reason.
                    "routes": [_route()],
                }
            ],
        },
        # The control plane enforces the deadline of a held call. This filter does so in case the
        # control plane hangs. The timer runs until the control plane has released the call, which
        # removes the header.
        "http_filters": [deadline_filter(SPARE_MS, LONGEST_MS), _check(settings), router()],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": f"{settings.idle_stream:.0f}s",
        "delayed_close_timeout": LINGER,
        "original_ip_detection_extensions": [_original_ip()],
        # Leave room for headers that the public listener adds. If this listener refused a request
        # for its headers, the log would have neither its path nor its client's address.
        "max_request_headers_kb": settings.headers + 8,
        "common_http_protocol_options": {"max_headers_count": HEADERS},
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
        # The public listener has counted these clients already.
        "ignore_global_conn_limit": True,
    }


def _route() -> dict[str, Any]:
    route = calls_route(pick(CALLS))
    # No timeout on the route: each call has its own in a header.
    route["route"]["max_stream_duration"] = {"grpc_timeout_header_max": "0s"}
    return route


def asking_listener(settings: DataplaneSettings, path: Path) -> dict[str, Any]:
    """Return the listener that forwards questions to the control plane, with retries.

    Args:
        settings: Limits.
        path: Path of its Unix socket.
    """
    retries = {
        "retry_on": "connect-failure,refused-stream,reset,unavailable,cancelled",
        "num_retries": RETRIES,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": PAUSE},
    }
    route = {"cluster": HOLD, **unhurried(settings), "retry_policy": retries}
    host = {
        "name": "ask",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": route}],
    }
    manager = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "ask",
        "codec_type": "HTTP2",
        "route_config": {"name": "ask", "virtual_hosts": [host]},
        "http_filters": [router()],
        "stream_idle_timeout": f"{settings.idle_stream:.0f}s",
    }
    return {
        "name": "ask",
        "address": {"pipe": {"path": str(path), "mode": 0o600}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        "ignore_global_conn_limit": True,
    }


def cold_clusters(listener: Path, asking: Path, service: Path) -> list[dict[str, Any]]:
    """Return the clusters of the two listeners and of the control plane's service.

    Args:
        listener: Path of the Unix socket of :func:`cold_listener`.
        asking: Path of the Unix socket of :func:`asking_listener`.
        service: Path of the Unix socket of the service.
    """
    alive = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    cold = _cluster(COLD, listener, {"http_protocol_options": {}}, _client_header())
    return [
        {**cold, "per_connection_buffer_limit_bytes": BUFFER},
        _cluster(ASK, asking, {"http2_protocol_options": {}}),
        # Treat a control plane that hangs like one that is gone.
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
                "envoy_grpc": {"cluster_name": ASK},
                # The service enforces the deadlines.
                "timeout": longest,
            },
            "allowed_headers": {
                "patterns": [
                    {"exact": name}
                    for name in (http.REQUEST_ID, http.DEADLINE_MS, http.ATTEMPT, http.REMOTE)
                ]
            },
            "clear_route_cache": True,
            # If the service cannot be reached, the call continues to the control plane, and Envoy
            # answers that the control plane does not respond.
            "failure_mode_allow": True,
        },
    }


def _replies() -> dict[str, Any]:
    # The service's reply is complete.
    refused = {"filter": {"response_flag_filter": {"flags": ["UAEX"]}}}
    is_timed = {"header_filter": {"header": {"name": GRPC_TIMEOUT, "present_match": True}}}
    # Envoy reports the first while a body is still arriving, the second after it.
    in_time = {"or_filter": {"filters": [status_is(408), status_is(504)]}}
    late = mapper({"and_filter": {"filters": [is_timed, in_time]}}, *_LATE)
    return {"mappers": [refused, late, *local_replies(moves=True)["mappers"]]}


def _client_header() -> dict[str, Any]:
    """Return the upstream filters that add the client's address to a request."""
    header = {"key": http.CLIENT, "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
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
    return {"name": "client", "typed_config": {"@type": detection, "header_name": http.CLIENT}}


def _cluster(
    name: str, path: Path, protocol: dict[str, Any], more: dict[str, Any] | None = None
) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}, "hostname": NO_REVISION}}
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, MOST)]},
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": protocol,
                **(more or {}),
            }
        },
    }
