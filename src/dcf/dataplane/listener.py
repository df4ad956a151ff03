"""Envoy's public and private listeners: limits for clients, and routes."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

from dcf.dataplane import grpc
from dcf.dataplane.call_ids import usable_ids
from dcf.dataplane.cors import allowed_origins, cors_filter, cors_policies, foreign_page
from dcf.dataplane.inbound import header_removal, virtual_hosts
from dcf.dataplane.jwt_auth import KEY_ID, key_filter, key_header
from dcf.dataplane.local_replies import CALLS, local_replies, set_header, timing
from dcf.dataplane.route_timeouts import deadline_filter, with_deadline
from dcf.protocol import gateway, http, routes
from dcf.settings import DataplaneSettings

CONTROL = "Control-plane"
"""The control plane's cluster. No function's name contains a capital letter."""
COLD = "Cold"
"""The cluster of the activation listener (:mod:`dcf.dataplane.activation_listener`)."""
NO_REVISION = "-"
"""The revision in the access log for requests that no replica answers."""

ALIVE = "/-/alive"
"""Path on the private listener that Envoy answers itself, to show that it still works."""

ATTEMPTS = 100
"""Maximum number of retries of a call whose handler has not begun. They take some 2.5 s in all, so
the control plane can update the routes even if it was just killed as well."""

WINDOW = 4
"""Number of streams' worth of data that one HTTP/2 connection may send at the same time."""

REPLAYED = 1024**2
"""Bytes of a call's body that Envoy keeps in case it must send the call to another replica."""

_TYPE = "type.googleapis.com/envoy."


def pick(missing: str) -> str:
    """Return the Lua that selects the cluster of a call, which has the function's name.

    Args:
        missing: The cluster for functions without a cluster. Paths without a function's name go to
            the control plane.
    """
    # The route has matched what comes before the name.
    return f"""
local match = string.match
function envoy_on_route(handle)
  local name = match(handle:headers():get(":path"), "^[a-z][^/?]*", {len(http.FUNCTION_PREFIX) + 1})
  if not name then
    return "{CALLS}"
  end
  return handle:getCluster(name) and name or "{missing}"
end
"""


PICK = pick(COLD)
"""The Lua of the public and the private listener. A function without a cluster has no ready
replica, or does not exist: its calls go to the activation listener."""

UNLIMITED = "0s"
"""Envoy's value for no time limit."""

LINGER = "0.25s"
"""Time between Envoy's last data on a connection and its close, unless the client closes first. A
client that is still sending must be able to read the reply before its connection breaks. At the end
of each stream, a WebSocket client waits for the close (RFC 6455, section 7.1.1), for which Envoy's
default of 1 s is long."""

UPSTREAM_TIME = "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%e-3"
"""Milliseconds from the first byte of a request to the first byte of the replica's reply. Envoy
formats whole microseconds; the exponent converts them to the unit of ``Server-Timing``."""


def public_listener(settings: DataplaneSettings) -> dict[str, Any]:
    """Return the ``Listener`` message of the public port, in JSON form."""
    address = {"address": settings.host.strip("[]"), "port_value": settings.port}
    chains = [_chain(settings, remote=not settings.open)]
    if not settings.open:
        near = {"filter_chain_match": {"source_type": "SAME_IP_OR_LOOPBACK"}}
        chains.insert(0, {**_chain(settings, remote=False), **near})
    return {
        **_listener("public", {"socket_address": address}, chains, settings),
        "socket_options": _socket_options(settings.unread),
    }


def _socket_options(unread: float) -> list[dict[str, int]]:
    """Return the socket options by which the kernel, not Envoy, ends dead connections."""
    # The kernel's probes detect a client whose machine vanished.
    options = [{"level": socket.SOL_SOCKET, "name": socket.SO_KEEPALIVE, "int_value": 1}]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # The kernel ends a connection if sent data is not acknowledged for this long (tcp(7)).
        milliseconds = math.ceil(unread * 1000)
        name = socket.TCP_USER_TIMEOUT
        options.append({"level": socket.IPPROTO_TCP, "name": name, "int_value": milliseconds})
    return options


def private_listener(settings: DataplaneSettings, path: Path) -> dict[str, Any]:
    """Return the ``Listener`` message of the private Unix socket, in JSON form.

    Replicas call other functions there. They need no key: only this user can open the socket.
    """
    address = {"pipe": {"path": str(path), "mode": 0o600}}
    chain = {"filters": [_http(settings, public=False)]}
    return _listener("private", address, [chain], settings)


def _chain(settings: DataplaneSettings, *, remote: bool) -> dict[str, Any]:
    """Return the filter chain for connections to the public port.

    Args:
        settings: Limits.
        remote: Whether the connections come from other machines.
    """
    chain: dict[str, Any] = {"filters": [_http(settings, public=True, remote=remote)]}
    if settings.certificate:
        chain["transport_socket"] = _tls(settings)
        chain["transport_socket_connect_timeout"] = f"{settings.headers_timeout:g}s"
    return chain


def _listener(
    name: str, address: dict[str, Any], chains: list[dict[str, Any]], settings: DataplaneSettings
) -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        "filter_chains": chains,
        "per_connection_buffer_limit_bytes": settings.buffer,
    }


def _tls(settings: DataplaneSettings) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": settings.certificate},
        "private_key": {"filename": settings.key},
    }
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [certificate],
            },
        },
    }


def _http(settings: DataplaneSettings, *, public: bool, remote: bool = False) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "public",
        "codec_type": "AUTO",
        "route_config": _routes(settings, public=public, remote=remote),
        "http_filters": _filters(settings, public=public),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        "http2_protocol_options": {
            "allow_connect": True,  # a WebSocket over HTTP/2 (RFC 8441)
            "max_concurrent_streams": settings.streams,
            "initial_stream_window_size": settings.buffer,
            "initial_connection_window_size": settings.buffer * WINDOW,
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
        "common_http_protocol_options": {
            "idle_timeout": f"{settings.idle_connection:g}s",
            # Limits the time until Invoke's message has arrived; other routes disable it. Set on
            # the route, it would replace the client's ``grpc-timeout``.
            "max_stream_duration": f"{settings.message_timeout:g}s",
        },
        "delayed_close_timeout": LINGER,
        "stream_idle_timeout": UNLIMITED,  # routes set it where needed
        # HTTP/2: reset a stream if the client does not read the reply.
        "stream_flush_timeout": f"{settings.unread:g}s",
        "request_headers_timeout": f"{settings.headers_timeout:g}s",
        "max_request_headers_kb": settings.headers,
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        **request_ids(),
        "early_header_mutation_extensions": [header_removal(public=public), usable_ids()],
        "server_header_transformation": "PASS_THROUGH",
        "local_reply_config": {
            "mappers": [*(grpc.mappers() if public else _alive()), *local_replies()["mappers"]]
        },
    }
    if settings.access_log:
        # The activation listener logs the calls that it holds, because it knows their replica.
        manager["access_log"] = [{**access_log(), "filter": _unless_cold()}]
    return {"name": "http", "typed_config": manager}


def _filters(settings: DataplaneSettings, *, public: bool) -> list[dict[str, Any]]:
    # CORS first: a preflight has no key, and a page must be able to read a rejection.
    filters = [cors_filter()] if settings.cors else []
    if public and not settings.open:
        filters.append(key_filter())
    if public:
        filters += grpc.filters()
    return [*filters, {**deadline_filter(), "disabled": True}, router()]


def router() -> dict[str, Any]:
    """Return the last filter, which forwards a request."""
    return {
        "name": "router",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def unhurried(settings: DataplaneSettings) -> dict[str, str]:
    """Return the time limits of requests of any duration; see ``DataplaneSettings.idle_stream``."""
    return {"timeout": UNLIMITED, "idle_timeout": f"{settings.idle_stream:.0f}s"}


def calls_route(source: str) -> dict[str, Any]:
    """Return the route of calls. It has no time limit.

    The watcher enforces deadlines and sends pings, and the control plane ends a replica that does
    not answer. An idle timeout here, which each byte resets, would cost a call as much as the
    selection of its function.

    Args:
        source: The Lua that selects the cluster.
    """
    specifier = {
        "name": "pick",
        "typed_config": {
            "@type": f"{_TYPE}extensions.router.cluster_specifiers.lua.v3.LuaConfig",
            "source_code": {"inline_string": source},
            "default_cluster": CALLS,
        },
    }
    function = {
        "inline_cluster_specifier_plugin": {"extension": specifier},
        "timeout": UNLIMITED,
        "retry_policy": {
            # Retrying is safe: the next replica knows whether the handler had begun, and then
            # refuses the call (dcf.watcher.attempts).
            "retry_on": "connect-failure,refused-stream,reset,retriable-headers",
            "retriable_headers": [{"name": http.MOVE, "present_match": True}],
            "num_retries": ATTEMPTS,
            "retry_host_predicate": [
                {
                    "name": "another",
                    "typed_config": {
                        "@type": f"{_TYPE}extensions.retry.host.previous_hosts.v3"
                        ".PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 3,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        },
    }
    return {
        "match": {"prefix": http.FUNCTION_PREFIX},
        "route": function,
        # Remove the caller's key or token: a handler could use it to call functions or to deploy.
        "request_headers_to_remove": ["authorization"],
    }


def _pages_route(settings: DataplaneSettings) -> dict[str, Any]:
    """Return the route of WebSockets that web pages open."""
    route = calls_route(foreign_page(settings.cors, PICK))
    upgrade = {"exact": "websocket", "ignore_case": True}
    route["match"]["headers"] = [
        {"name": "upgrade", "string_match": upgrade},
        {"name": "origin", "present_match": True},
    ]
    return route


def _routes(settings: DataplaneSettings, *, public: bool, remote: bool) -> dict[str, Any]:
    calls = [with_deadline(calls_route(PICK)), calls_route(PICK)]
    if public and "*" not in allowed_origins(settings.cors):
        calls.insert(0, _pages_route(settings))
    calls += _grpc(settings) if public else ()
    rest = _management(settings)
    if not public:
        rest.insert(0, {"match": {"path": ALIVE}, "direct_response": {"status": 200}})
    # On the private listener the bridge sets the key's id itself.
    added = [key_header()] if public and not settings.open else []
    if remote:
        added.append(set_header(http.REMOTE, KEY_ID))
    host = {
        "include_request_attempt_count": True,
        "request_body_buffer_limit": REPLAYED,
        # Envoy sets it itself.
        "request_headers_to_remove": ["x-envoy-external-address"],
        "request_headers_to_add": added,
        "routes": [_unbounded(route) for route in (*calls, *rest)],
        **cors_policies(settings.cors),
    }
    return {
        "name": "all",
        "response_headers_to_add": [timing(UPSTREAM_TIME, "APPEND_IF_EXISTS_OR_ADD")],
        "virtual_hosts": virtual_hosts(settings, host, public=public),
    }


def _unbounded(route: dict[str, Any]) -> dict[str, Any]:
    """Disable the listener's ``max_stream_duration`` on a route, unless the route sets its own.

    The listener's limit is for Invoke alone. Envoy selects that route again once the message has
    arrived.
    """
    if "route" not in route or route["match"].get("path") == grpc.INVOKE:
        return route
    unbounded = {"max_stream_duration": {"max_stream_duration": UNLIMITED}}
    return {**route, "route": {**unbounded, **route["route"]}}


def _grpc(settings: DataplaneSettings) -> list[dict[str, Any]]:
    return grpc.routes(unhurried(settings), timed(settings))


def timed(settings: DataplaneSettings) -> dict[str, str]:
    """Return the time limits of quick management requests; see ``DataplaneSettings.management``."""
    limit = f"{settings.management:g}s"
    return {"timeout": limit, "idle_timeout": limit}


def _alive() -> list[dict[str, Any]]:
    """Return the mapper that leaves the reply at :data:`ALIVE` unchanged."""
    path = {"name": ":path", "string_match": {"exact": ALIVE}}
    return [{"filter": {"header_filter": {"header": path}}}]


def _management(settings: DataplaneSettings) -> list[dict[str, Any]]:
    """Return the routes of all requests that are not calls.

    They are quick, except deploys, uploads and logs. Those have no time limit; they end when a hung
    control plane is restarted. A deploy sends lines more often than the limit of a quick request.
    """
    lines = {"name": "accept", "string_match": {"contains": gateway.JSON_LINES}}
    get = {"name": ":method", "string_match": {"exact": "GET"}, "invert_match": True}
    steps = {**timed(settings), "timeout": UNLIMITED}
    slow = unhurried(settings)
    rows: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"path": routes.DEPLOY.path, "headers": [get, lines]}, steps),
        ({"path": routes.DEPLOY.path, "headers": [get]}, slow),
        ({"path": routes.ANNOUNCE.path}, slow),
        ({"prefix": routes.SEND_BLOB.prefix}, slow),
        ({"prefix": routes.READ_LOG.prefix}, slow),
        ({"prefix": "/"}, timed(settings)),
    ]
    return [{"match": match, "route": {"cluster": CONTROL, **bounds}} for match, bounds in rows]


def request_ids() -> dict[str, Any]:
    """Return the options of an HTTP connection manager for request ids."""
    return {
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_TYPE}extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,  # a caller's id stays as it is
            }
        },
    }


def _unless_cold() -> dict[str, Any]:
    # The public listener knows the client's address and passes it on.
    header = {"name": http.CLIENT, "present_match": True, "invert_match": True}
    return {"header_filter": {"header": header}}


def access_log() -> dict[str, Any]:
    """Return the access log: a line of JSON for each call, on standard output."""
    fields = {
        "time": "%START_TIME%",
        "request_id": f"%REQ({http.REQUEST_ID})%",
        "function": "%UPSTREAM_CLUSTER%",
        "revision": "%UPSTREAM_HOST_NAME%",  # metadata would cost ten times as much
        "replica": "%UPSTREAM_HOST%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc": "%RESP(grpc-status)%",  # only of a failed call; its HTTP status is 200
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
    }
    return {
        "name": "lines",
        "typed_config": {
            "@type": f"{_TYPE}extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": fields},
        },
    }
