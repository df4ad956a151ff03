"""Where calls wait that meet no replica: a listener of Envoy's own, behind the other two.

Nothing of a warm call passes here. A call that comes here is asked about at the control plane
(:mod:`dcf.dataplane.ext_authz_server`), from its headers alone; Envoy keeps its body back by flow
control, so it may be of any size, a stream or a WebSocket. Once it may go on, its route is looked
up anew, and leads to the replica that there is by now.

Envoy asks by way of itself, through a second listener: only a route's retries can be told how soon
they follow and how long each may take, and a question is answered when there is a replica.
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
from dcf.dataplane.route_timeouts import GRPC_TIMEOUT
from dcf.protocol import http
from dcf.settings import DataplaneSettings

HOLD = "Hold"
"""The cluster of the service that decides. No function has a capital in its name."""

ASK = "Ask"
"""The cluster of the listener by which that service is asked."""

BUFFER = 65_536
"""Bytes kept of a held call on each side, so that thousands of them are some hundred MB."""

MOST = 1_000_000
"""Calls on the cold path, as far as Envoy counts: the control plane bounds those that are held, and
those that go on are bounded by their function."""

BACKLOG = 4096
"""Connections that may wait to be accepted: the calls of a burst come at one instant."""

HEADERS = 120
"""Maximum number of headers of a held request. The public listener accepts 100, Envoy's default,
and adds some."""

RETRIES = 50
"""Times that Envoy asks again when the control plane does not answer: for a dozen seconds, longer
than it takes to be started again after it was killed several times."""

PAUSE = "0.5s"
"""The longest pause between two questions: a call whose control plane is back waits no longer."""

LONGEST_MS = 86_400_000
"""Milliseconds that a call is held at most, whatever its deadline."""

SPARE_MS = 500
"""Milliseconds after a deadline in which the control plane can answer first, with more detail."""

_LATE = (
    errors.DeadlineExceeded,
    "No reply in time",
    "there was no ready replica before the deadline, and the control plane did not answer",
)

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
                    "include_request_attempt_count": True,
                    "request_headers_to_remove": [http.CLIENT, GRPC_TIMEOUT],
                    # A name that is still no cluster is one of whose calls nobody could say
                    # anything; the control plane tells what it knows.
                    "routes": [_route()],
                }
            ],
        },
        "http_filters": [_deadline(), _check(settings), router()],
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
        # Its clients are counted where they come in.
        "ignore_global_conn_limit": True,
    }


def _route() -> dict[str, Any]:
    route = calls_route(pick(CALLS))
    # No timeout on the route: each call has its own in a header.
    route["route"]["max_stream_duration"] = {"grpc_timeout_header_max": "0s"}
    return route


def _deadline() -> dict[str, Any]:
    """Return the filter by which Envoy enforces the caller's deadline of a held call.

    The control plane enforces that deadline; Envoy does so in case the control plane hangs. Envoy
    times a single call only by a gRPC header. The timer runs until the service has decided and
    removes the header.
    """
    source = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local given = headers:get("{http.DEADLINE_MS}")
  if given and #given <= 12 and string.match(given, "^%d+$") then
    local wait = math.min(tonumber(given), {LONGEST_MS}) + {SPARE_MS}
    headers:replace("{GRPC_TIMEOUT}", string.format("%.0fm", wait))
    handle:clearRouteCache()
  end
end
"""
    return {
        "name": "deadline",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": source},
        },
    }


def asking_listener(settings: DataplaneSettings, path: Path) -> dict[str, Any]:
    """What passes questions on to the service, and asks again where it is away.

    Args:
        settings: Bounds.
        path: Of its Unix socket.
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
    """The clusters behind it all: the two listeners themselves, and the service that decides.

    Args:
        listener: The Unix socket of :func:`cold_listener`.
        asking: That of :func:`asking_listener`.
        service: The service's.
    """
    alive = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    cold = _cluster(COLD, listener, {"http_protocol_options": {}}, _tell_client())
    return [
        {**cold, "per_connection_buffer_limit_bytes": BUFFER},
        _cluster(ASK, asking, {"http2_protocol_options": {}}),
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
                "envoy_grpc": {"cluster_name": ASK},
                # The service keeps the deadlines.
                "timeout": longest,
            },
            "allowed_headers": {
                "patterns": [
                    {"exact": name}
                    for name in (http.REQUEST_ID, http.DEADLINE_MS, http.ATTEMPT, http.REMOTE)
                ]
            },
            "clear_route_cache": True,
            # Where nobody decides, the route from before leads to the control plane, and Envoy
            # says that it is away.
            "failure_mode_allow": True,
        },
    }


def _replies() -> dict[str, Any]:
    # The service's reply is complete.
    refused = {"filter": {"response_flag_filter": {"flags": ["UAEX"]}}}
    told = {"header_filter": {"header": {"name": GRPC_TIMEOUT, "present_match": True}}}
    # Envoy reports the first while a body is still arriving, the second after it.
    in_time = {"or_filter": {"filters": [status_is(408), status_is(504)]}}
    late = mapper({"and_filter": {"filters": [told, in_time]}}, *_LATE)
    return {"mappers": [refused, late, *local_replies(moves=True)["mappers"]]}


def _tell_client() -> dict[str, Any]:
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
