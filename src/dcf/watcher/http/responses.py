"""What a reply says beside its body, the same on both ways out."""

from __future__ import annotations

import logging

from dcf.errors import (
    DcfError,
    HandlerRaised,
    NotReady,
    Overloaded,
    ReplicaLost,
    UnsupportedReply,
)
from dcf.function.reply import Encoded
from dcf.protocol import http
from dcf.protocol.problem import to_problem, without_traceback
from dcf.protocol.status_codes import status_of
from dcf.telemetry.ids import is_usable, new_request_id
from dcf.watcher.call import Call

Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = http.REQUEST_ID.encode()
_SERVER_TIMING = http.SERVER_TIMING.encode()
_RETRY_AFTER = http.RETRY_AFTER.encode()
_BEGUN = http.BEGUN.encode()
_MOVE = http.MOVE.encode()
_OWN = http.OWN_HEADERS.encode()
ATTEMPT = http.ATTEMPT.encode()
_DIGITS = 6
"""Digits of the largest attempt number that is accepted."""
OVERLOADS = 3
"""Maximum number of replicas that a call is offered to while their queues are full. Envoy picks the
least busy replica first, so further attempts would only add load."""

logger = logging.getLogger("dcf.watcher")


def headers_of(call: Call, outcome: Encoded) -> Headers:
    """The headers of a call's reply, but those about length and connection."""
    headers = [(b"content-type", outcome.content_type), (_SERVER_TIMING, call.timing())]
    if call.request_id:
        headers.append((_REQUEST_ID, call.request_id))
    if outcome.headers:
        # The gateway would act on these headers.
        headers += [one for one in outcome.headers if not one[0].lower().startswith(_OWN)]
    return headers


def attempt_of(value: bytes) -> int:
    """Return the number in Envoy's header of attempts; 0 for anything else."""
    return int(value) if len(value) <= _DIGITS and value.isdigit() else 0


def refusal(error: DcfError, call: Call | None, headers: Headers) -> tuple[int, Headers, bytes]:
    """An error as a reply; one of the handler's own is also logged.

    Args:
        error: What went wrong.
        call: The call; None where it was not admitted.
        headers: The request's.

    Returns:
        Status, headers but those about length and connection, and the body: a problem document.
    """
    found = [(b"content-type", http.PROBLEM.encode())]
    if call is not None:
        request_id = call.request.request_id
        log_failure(error, call)
        found.append((_SERVER_TIMING, call.timing()))
    else:
        given = dict(headers).get(_REQUEST_ID, b"")
        request_id = (given if is_usable(given) else new_request_id()).decode("ascii")
    if call is None or call.request_id:
        found.append((_REQUEST_ID, request_id.encode("latin-1")))
    if isinstance(error, Overloaded | NotReady):
        found.append((_RETRY_AFTER, b"%d" % getattr(error, "retry_after", 1)))
    if isinstance(error, Overloaded | NotReady | ReplicaLost):
        found += _repeatable(error, call, headers)
    body = to_problem(error if call is None else told(error, call), request_id)
    return status_of(type(error)).http, found, body


def _repeatable(error: DcfError, call: Call | None, headers: Headers) -> Headers:
    """Tell the client whether the handler had begun, and the gateway whether to try elsewhere."""
    if isinstance(error, ReplicaLost) or (call is not None and not call.may_begin_elsewhere):
        return [(_BEGUN, b"true")]
    attempt = attempt_of(dict(headers).get(ATTEMPT, b"")) if call is None else call.attempt
    moves = 0 < attempt <= OVERLOADS if isinstance(error, Overloaded) else attempt > 0
    return [(_BEGUN, b"false"), (_MOVE, b"1")] if moves else [(_BEGUN, b"false")]


def told(error: DcfError, call: Call) -> DcfError:
    """Return the error in the form that this caller may see."""
    if not getattr(error, "traceback", ""):
        return error
    may_see = http.may_see_tracebacks(call.request.headers.get(http.REMOTE))
    return error if may_see else without_traceback(error)


def log_failure(error: DcfError, call: Call) -> None:
    """Tells the log of an error that is the handler's own."""
    if isinstance(error, HandlerRaised | UnsupportedReply):
        logger.error("call %s: %s", call.request.request_id, reason(error))


def reason(error: DcfError) -> str:
    """An error as the log tells it."""
    return getattr(error, "traceback", "") or str(error)
