"""``pb.Gateway`` in Envoy: the routes of gRPC, and the conversion of Invoke to a function's call.

Invokes goes to the bridge, as HTTP/1.1 with trailers: docs/decisions/0025-bridge.md.

Invoke passes no Python process before its replica. Its route enables four filters: a buffer waits
for the whole message; ``invoke.lua`` extracts the function's name and the input; Envoy's reverse
bridge converts gRPC to HTTP/1.1 and the reply back; ``reply.lua`` wraps the reply, or turns a
problem document into a gRPC status. All other gRPC goes to the control plane. Reasons:
docs/decisions/0020-grpc.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from dcf import errors
from dcf.dataplane.route_timeouts import EXTRA_MS
from dcf.protocol import http
from dcf.protocol.status_codes import status_of
from dcf.rpc.gateway_messages import SERVICE
from dcf.rpc.grpc_framing import ROUND_INPUT
from dcf.rpc.grpc_status import LONGEST_MESSAGE

GRPC = "Control-plane-gRPC"
"""The cluster of the control plane's gRPC server. No function's name contains a capital letter."""

BRIDGE = "Bridge"
"""The cluster of the bridge, which converts gRPC streams to WebSockets."""

STREAMS = 4096
"""Maximum number of gRPC streams at a time. Each needs a connection to the bridge, and the bridge
one connection for each function."""

RETRIES = 10
"""Retries of a stream that has not reached the bridge. They take some 2 s in all, longer than a
restart of a killed bridge."""

RETRY_BUFFER = 64 * 1024
"""Bytes of a stream that are kept for a retry. A stream that has sent more is not retried."""

INVOKE = f"/{SERVICE}/Invoke"
INVOKES = f"/{SERVICE}/Invokes"
DEPLOYS = f"/{SERVICE}/(Deploy|Update)"
"""Regular expression for the methods that may take as long as a replica's start."""

LARGEST = 16 * 1024**2
"""Maximum bytes of Input, and of a reply. Envoy holds several copies of a message while it converts
it, and its thread serves no other call meanwhile. For 16 MiB that takes some 0.1 s and 150 MB, for
64 MiB 0.5 s and 600 MB. By default, gRPC clients accept replies up to 4 MB."""

_TYPE = "type.googleapis.com/envoy."
_METADATA = "dcf.grpc"
"""Key of the dynamic metadata in which the Lua leaves an error for :func:`mappers`."""
_ADD = "OVERWRITE_IF_EXISTS_OR_ADD"

_TOO_LARGE = f"more than {LARGEST} bytes, the maximum over gRPC; use HTTP for more"
_NO_TEXT = (
    "the reply is not UTF-8, but Msg is a text: let the handler return base64, or call"
    f" POST {http.FUNCTION_PREFIX}NAME over HTTP, where bytes stay bytes"
)

_OF_HTTP = {
    400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 409: 10, 412: 9, 413: 8, 416: 11, 422: 3,
    429: 8, 499: 1, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4,
}  # fmt: skip
"""The gRPC status for an HTTP status that a handler set itself, without a problem document."""
_OTHER = 2
"""The gRPC status for every other HTTP status: UNKNOWN."""

# Every gRPC client accepts trailers. Another request may have gRPC's content type, but not this.
_TE = {"name": "te", "string_match": {"exact": "trailers"}}


def filters() -> list[dict[str, Any]]:
    """Return the filters, disabled. Calls over HTTP have no cost from them."""
    bridge = {"content_type": http.BINARY, "withhold_grpc_frames": True}
    return [
        # It also sets the size of the buffer for a reply.
        _off("whole", "buffer.v3.Buffer", {"max_request_bytes": LARGEST + ROUND_INPUT}),
        _off("invoke", "lua.v3.Lua", _lua("invoke.lua")),
        _off("bridge", "grpc_http1_reverse_bridge.v3.FilterConfig", bridge),
        _off("reply", "lua.v3.Lua", _lua("reply.lua")),
    ]


def routes(bounds: dict[str, str], timed: dict[str, str]) -> list[dict[str, Any]]:
    """Return the routes of gRPC.

    Args:
        bounds: Time limits of calls, streams and deploys, as members of a route.
        timed: Time limits of all other methods, which the control plane answers quickly.
    """
    is_grpc = match()
    # The function's name is in Invoke's message, so the reverse bridge selects the route again.
    to = {"route": {"cluster": GRPC, **bounds}}
    return [
        {
            "match": {"path": INVOKE, **is_grpc},
            **to,
            "typed_per_filter_config": _on("whole", "invoke", "bridge", "reply"),
        },
        {
            "match": {"path": INVOKES, **is_grpc},
            "route": {"cluster": BRIDGE, **bounds, "retry_policy": _until_it_is_back()},
            "request_body_buffer_limit": RETRY_BUFFER,
            "typed_per_filter_config": _on("reply"),
        },
        {
            "match": {"safe_regex": {"regex": DEPLOYS}, **is_grpc},
            **to,
            "typed_per_filter_config": _on("reply"),
        },
        {
            "match": {"prefix": "/", **is_grpc},
            "route": {"cluster": GRPC, **timed},
            "typed_per_filter_config": _on("reply"),
        },
    ]


def match() -> dict[str, Any]:
    """Return the part of a route's match that selects gRPC."""
    return {"grpc": {}, "headers": [_TE]}


def replying() -> dict[str, Any]:
    """Return the part of a route that turns problem documents into gRPC statuses."""
    return _on("reply")


def mappers() -> list[dict[str, Any]]:
    """Return the mappers of Envoy's own replies to gRPC, which precede all others."""
    has_error = {
        "matcher": {
            "filter": _METADATA,
            "path": [{"key": "status"}],
            "value": {"present_match": True},
        },
        "match_if_key_not_found": False,
    }
    internal = {"default_value": 500, "runtime_key": "dcf.never_set_grpc_500"}
    # The size of a chunked reply is known only at its end; Envoy then replies itself, without Lua.
    too_large = [
        {"status_code_filter": {"comparison": {"op": "EQ", "value": internal}}},
        {"header_filter": {"header": _TE}},
    ]
    number = str(status_of(errors.BodyTooLarge).grpc)
    return [
        _mapper(
            {"metadata_filter": has_error},
            f"%DYNAMIC_METADATA({_METADATA}:status)%",
            f"%DYNAMIC_METADATA({_METADATA}:message)%",
        ),
        _mapper({"and_filter": {"filters": too_large}}, number, f"the reply has {_TOO_LARGE}"),
    ]


def _until_it_is_back() -> dict[str, Any]:
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": RETRIES,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.4s"},
    }


def _mapper(condition: dict[str, Any], number: str, message: str) -> dict[str, Any]:
    header = {"header": {"key": "grpc-status", "value": number}, "append_action": _ADD}
    return {
        "filter": condition,
        "headers_to_add": [header],
        "body_format_override": {"text_format_source": {"inline_string": message}},
    }


def _off(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": f"{_TYPE}extensions.filters.http.{kind}", **config}
    return {"name": name, "typed_config": typed, "disabled": True}


def _on(*names: str) -> dict[str, Any]:
    switch = {"@type": f"{_TYPE}config.route.v3.FilterConfig", "config": {}}
    return dict.fromkeys(names, switch)


def _lua(file: str) -> dict[str, Any]:
    text = resources.files("dcf.dataplane").joinpath(file).read_text("utf-8")
    known = "".join(f"local {name} = {_literal(value)}\n" for name, value in _known().items())
    return {"default_source_code": {"inline_string": known + text}}


def _known() -> dict[str, object]:
    """Return the values of the Lua's constants, so that each is defined only once."""
    return {
        "METADATA": _METADATA,
        "NUMBERS": dict(_numbers()),
        "OF_HTTP": _OF_HTTP,
        "OTHER": _OTHER,
        "LARGEST": LARGEST,
        "LONGEST_MESSAGE": LONGEST_MESSAGE,
        "FUNCTION_PREFIX": http.FUNCTION_PREFIX,
        "DEADLINE_MS": http.DEADLINE_MS,
        "EXTRA_MS": EXTRA_MS,
        "BINARY": http.BINARY,
        "BAD_REQUEST": status_of(errors.BadRequest).grpc,
        "BODY_TOO_LARGE": status_of(errors.BodyTooLarge).grpc,
        "UNSUPPORTED_REPLY": status_of(errors.UnsupportedReply).grpc,
        "UNIMPLEMENTED": status_of(errors.MethodNotAllowed).grpc,
        "TOO_LARGE": _TOO_LARGE,
        "NO_TEXT": _NO_TEXT,
    }


def _numbers() -> Iterator[tuple[str, int]]:
    """Yield the name and the gRPC status of each error class."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.DcfError):
            yield kind.__name__, status_of(kind).grpc


def _literal(value: object) -> str:
    """Return a Lua literal. It is the same as in JSON, except for tables."""
    if isinstance(value, dict):
        members = (f"[{_literal(key)}] = {_literal(member)}" for key, member in value.items())
        return "{" + ", ".join(members) + "}"
    return json.dumps(value)
