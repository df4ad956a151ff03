"""Envoy's own replies, when there is none of a replica: as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from dcf import errors
from dcf.dataplane.route_timeouts import DURATION_OVER
from dcf.protocol import hosts, http
from dcf.protocol.status_codes import status_of

CALLS = "Control-plane-calls"
"""The control plane's cluster for calls that no function takes. Its answers are short and have a
time limit, for when the control plane stands still."""

_REPLACE = "OVERWRITE_IF_EXISTS_OR_ADD"

_BY_FLAG: dict[str, tuple[type[errors.DcfError], str, str]] = {
    "OM": (errors.Overloaded, "The gateway is overloaded", "its memory is nearly used up"),
    "UH": (errors.NotReady, "Nobody takes calls", "%UPSTREAM_CLUSTER% has no replica now"),
    "NC": (errors.NotReady, "Nobody takes calls", "the function was removed during the call"),
    "UO": (
        errors.Overloaded,
        "Too many calls are waiting",
        "%UPSTREAM_CLUSTER% has as many calls as it may have",
    ),
    "UF": (
        errors.NotReady,
        "Nobody takes calls",
        "no connection to %UPSTREAM_CLUSTER%",
    ),
    "UC": (
        errors.ReplicaLost,
        "The replica ended during the call",
        "%UPSTREAM_CLUSTER% broke the connection off",
    ),
    "UR": (
        errors.ReplicaLost,
        "The replica ended during the call",
        "%UPSTREAM_CLUSTER% broke the call off",
    ),
    "UPE": (
        errors.ReplicaLost,
        "The answer cannot be understood",
        "%UPSTREAM_CLUSTER% did not answer in HTTP",
    ),
    "UT": (errors.DeadlineExceeded, "No reply in time", "%UPSTREAM_CLUSTER% gave no reply"),
    "SI": (errors.DeadlineExceeded, "Nothing came", "not a byte was sent either way"),
}
"""Envoy's response flag (its manual: access logging) to error, title and detail."""

_NO_UPGRADE = (
    errors.BadRequest,
    "The function takes no WebSocket",
    "%UPSTREAM_CLUSTER% has answered and not switched to a WebSocket; its answer is lost",
)
"""What an answer of 200 is, which Envoy never gives by itself but in place of a replica's to an
upgrade. Nobody is to take it for a success."""

_BY_STATUS: dict[int, tuple[type[errors.DcfError], str, str]] = {
    401: (
        errors.AccessDenied,
        "Access denied",
        "a key that is in force is wanted here: Authorization: Bearer KEY",
    ),
    400: (errors.BadRequest, "The request cannot be used", "this is not HTTP as it should be"),
    408: (errors.BadRequest, "The request did not arrive", "the rest of the request did not come"),
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
"""The status by which a route rejects a path; callers get 400. A 400 here could not be told apart
from Envoy's other replies with 400."""

_AMBIGUOUS = (
    errors.BadRequest,
    "The request cannot be used",
    "expected a path without '.' and '..' as segments, without a backslash and without a NUL",
)

_FOREIGN_PAGE = (
    errors.AccessDenied,
    "Access denied",
    "pages of %REQ(origin)% open no WebSocket here; the gateway's option --cors lets them",
)
"""What becomes of a WebSocket that :func:`dcf.dataplane.cors.foreign_page` sends nowhere."""


_NO_CONTROL_PLANE = (
    errors.NotReady,
    "No function takes calls",
    "the gateway's control plane does not answer",
)
_ENDED_DURING = (
    errors.ReplicaLost,
    "The replica ended during the call",
    "%UPSTREAM_CLUSTER% broke the connection off",
)
_ENDED_BEFORE = (
    errors.NotReady,
    "The replica ended before the call",
    "%UPSTREAM_CLUSTER% ended before the handler began",
)
_TOO_LATE = (
    errors.DeadlineExceeded,
    "No reply in time",
    "the deadline passed, and %UPSTREAM_CLUSTER% did not say so",
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
    title, detail = "The call could not be passed on", "%RESPONSE_CODE_DETAILS%"
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
    """What says in a reply how long it took.

    Args:
        milliseconds: As Envoy's formatter fills it in.
        action: What becomes of a header that is there; a ``HeaderAppendAction``.
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
