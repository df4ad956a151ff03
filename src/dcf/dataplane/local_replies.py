"""Envoy's own replies, as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from dcf import errors
from dcf.dataplane.route_timeouts import DURATION_OVER
from dcf.protocol import hosts, http
from dcf.protocol.status_codes import status_of

CALLS = "Control-plane-calls"
"""The control plane's cluster for calls that cannot be routed to a function. Its replies are short
and have a time limit, in case the control plane hangs."""

_REPLACE = "OVERWRITE_IF_EXISTS_OR_ADD"

_NOT_READY = "The function is not ready"

_BY_FLAG: dict[str, tuple[type[errors.DcfError], str, str]] = {
    "OM": (errors.Overloaded, "The gateway is overloaded", "the gateway is almost out of memory"),
    "UH": (errors.NotReady, _NOT_READY, "%UPSTREAM_CLUSTER% has no ready replica"),
    "NC": (errors.NotReady, _NOT_READY, "the function was removed during the call"),
    "UO": (
        errors.Overloaded,
        "Too many calls are waiting",
        "%UPSTREAM_CLUSTER% has its maximum number of calls",
    ),
    "UF": (errors.NotReady, _NOT_READY, "no connection to %UPSTREAM_CLUSTER%"),
    "UC": (
        errors.ReplicaLost,
        "The replica ended during the call",
        "%UPSTREAM_CLUSTER% closed the connection",
    ),
    "UR": (
        errors.ReplicaLost,
        "The replica ended during the call",
        "%UPSTREAM_CLUSTER% reset the call",
    ),
    "UPE": (
        errors.ReplicaLost,
        "The reply is invalid",
        "%UPSTREAM_CLUSTER% sent a reply that is not valid HTTP",
    ),
    "UT": (errors.DeadlineExceeded, "No reply in time", "%UPSTREAM_CLUSTER% did not reply in time"),
    "SI": (errors.DeadlineExceeded, "No data in time", "no data was sent in either direction"),
}
"""Error, title and detail for each of Envoy's response flags (Envoy's manual: access logging)."""

_NO_UPGRADE = (
    errors.BadRequest,
    "The function accepts no WebSocket",
    "%UPSTREAM_CLUSTER% replied without switching to a WebSocket, and its reply is lost",
)
"""The reply for a local reply with status 200. Envoy creates it only in place of a replica's reply
to an upgrade request, and callers must not mistake it for a success."""

_BY_STATUS: dict[int, tuple[type[errors.DcfError], str, str]] = {
    401: (
        errors.AccessDenied,
        "Access denied",
        'expected a valid key in the header "Authorization: Bearer KEY"',
    ),
    400: (errors.BadRequest, "The request cannot be used", "the request is not valid HTTP"),
    408: (errors.BadRequest, "The request is incomplete", "the request did not arrive in time"),
    413: (
        errors.BodyTooLarge,
        "The body is too large",
        "the body is larger than %UPSTREAM_CLUSTER% allows",
    ),
    status_of(errors.HostNotAllowed).http: (
        errors.HostNotAllowed,
        "The request is for another host",
        hosts.detail("%REQ(:authority):200%"),
    ),
    431: (errors.BadRequest, "The headers are too large", "the request's headers are too large"),
}


AMBIGUOUS_PATH = 460
"""The status with which a route rejects a path; callers get 400. It must be distinct,
because Envoy has other replies with 400."""

_AMBIGUOUS = (
    errors.BadRequest,
    "The request cannot be used",
    "expected a path without '.' and '..' as segments, without a backslash and without a NUL",
)

_FOREIGN_PAGE = (
    errors.AccessDenied,
    "Access denied",
    "pages of %REQ(origin)% must not open a WebSocket here; the gateway's option --cors allows it",
)
"""The reply to a WebSocket that :func:`dcf.dataplane.cors.foreign_page` rejects."""


_NO_CONTROL_PLANE = (
    errors.NotReady,
    "The gateway is not ready",
    "the gateway's control plane does not answer",
)
_ENDED_DURING = (
    errors.ReplicaLost,
    "The replica ended during the call",
    "%UPSTREAM_CLUSTER% closed the connection",
)
_ENDED_BEFORE = (
    errors.NotReady,
    "The replica ended before the call",
    "%UPSTREAM_CLUSTER% ended before the handler began",
)
_TOO_LATE = (
    errors.DeadlineExceeded,
    "No reply in time",
    "the deadline passed without a reply of %UPSTREAM_CLUSTER%",
)


def local_replies(*, moves: bool = False) -> dict[str, Any]:
    """Return the ``local_reply_config`` of Envoy's HTTP connection manager.

    Args:
        moves: Whether another listener in front can retry a call that this one cannot, because this
            one keeps less of its body.
    """
    nowhere = [
        {"response_flag_filter": {"flags": ["NC"]}},
        {"header_filter": {"header": {"name": "upgrade", "present_match": True}}},
        {"header_filter": {"header": {"name": "origin", "present_match": True}}},
    ]
    silent = {"response_flag_filter": {"flags": ["UF", "UO", "UC", "UMSDR"]}}
    to_control = _cel(f"xds.cluster_name == '{CALLS}'")
    has_deadline = {"header_filter": {"header": {"name": http.DEADLINE_MS, "present_match": True}}}
    mappers = [
        mapper({"and_filter": {"filters": nowhere}}, *_FOREIGN_PAGE),
        mapper(status_is(AMBIGUOUS_PATH), *_AMBIGUOUS),
        *_ended(moves=moves),
        mapper({"and_filter": {"filters": [silent, to_control]}}, *_NO_CONTROL_PLANE),
        mapper({"and_filter": {"filters": [has_deadline, _cel(DURATION_OVER)]}}, *_TOO_LATE),
    ]
    for flag, row in _BY_FLAG.items():
        mappers.append(mapper({"response_flag_filter": {"flags": [flag]}}, *row))
    mappers.append(mapper(status_is(HTTPStatus.OK), *_NO_UPGRADE))
    mappers += [_mapper(status_is(status), *row) for status, row in _BY_STATUS.items()]
    title, detail = "The call could not be forwarded", "%RESPONSE_CODE_DETAILS%"
    mappers.append(_mapper(_status("GE", 0), errors.CallError, title, detail))
    return {"mappers": mappers}


def _ended(*, moves: bool) -> list[dict[str, Any]]:
    """Return the replies for calls whose replica ended and that cannot be retried.

    A watcher sends an interim response when the handler begins such a call. Envoy then reports that
    the response had started.
    """
    call = {
        "header_filter": {
            "header": {"name": ":path", "string_match": {"prefix": http.FUNCTION_PREFIX}}
        }
    }
    broken = {"response_flag_filter": {"flags": ["UC"]}}
    late = _cel("response.code_details.startsWith('upstream_reset_after_response_started')")
    begun = mapper({"and_filter": {"filters": [call, broken, late]}}, *_ENDED_DURING)
    begun["headers_to_add"].append(_header(http.BEGUN, "true", _REPLACE))
    not_begun = mapper({"and_filter": {"filters": [call, broken]}}, *_ENDED_BEFORE)
    not_begun["headers_to_add"].append(_header(http.BEGUN, "false", _REPLACE))
    if moves:
        not_begun["headers_to_add"].append(_header(http.MOVE, "1", _REPLACE))
    return [begun, not_begun]


def _cel(expression: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    typed = {"@type": kind, "expression": expression}
    return {"extension_filter": {"name": "cel", "typed_config": typed}}


def mapper(
    condition: dict[str, Any], error: type[errors.DcfError], title: str, detail: str
) -> dict[str, Any]:
    """Return the mapper that gives Envoy's replies that meet a condition an error's document."""
    return {**_mapper(condition, error, title, detail), "status_code": status_of(error).http}


def timing(milliseconds: str, action: str) -> dict[str, Any]:
    """Return the option that adds the duration of a call to its reply.

    Args:
        milliseconds: Envoy format string for the duration.
        action: ``HeaderAppendAction`` for an existing header.
    """
    return _header(http.SERVER_TIMING, f"gateway;dur={milliseconds}", action)


def set_header(name: str, value: str) -> dict[str, Any]:
    """Return the option that sets a header of a message and replaces an existing one."""
    return _header(name, value, _REPLACE)


def status_is(number: int) -> dict[str, Any]:
    """Return the condition that a reply has this status."""
    return _status("EQ", number)


def _status(operator: str, number: int) -> dict[str, Any]:
    value = {"default_value": number, "runtime_key": f"dcf.never_set_{number}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _mapper(
    condition: dict[str, Any], error: type[errors.DcfError], title: str, detail: str
) -> dict[str, Any]:
    headers = [timing("%DURATION%", _REPLACE)]
    if issubclass(error, errors.NotReady | errors.Overloaded):
        headers.append(_header(http.RETRY_AFTER, "1", _REPLACE))
    if issubclass(error, errors.AccessDenied):
        headers.append(_header("www-authenticate", "Bearer", _REPLACE))
    return {
        "filter": condition,
        "headers_to_add": headers,
        "body_format_override": _body(error.__name__, title, detail),
    }


def _header(name: str, value: str, action: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _body(error: str, title: str, detail: str) -> dict[str, Any]:
    return {
        "content_type": http.PROBLEM,
        "json_format": {
            "type": "about:blank",
            "title": title,
            "status": "%RESPONSE_CODE%",
            "detail": detail,
            "error": error,
            "request_id": f"%REQ({http.REQUEST_ID})%",
        },
    }
