"""Turns the outcome of a call, or an error, into the response that is sent."""

from __future__ import annotations

import logging

from dcf.errors import (
    CallError,
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


Response = tuple[int, Headers, bytes | None]
"""A complete response, or the head of one whose content follows in chunks: its status, valid
headers without those about length and connection, and the content. The content is None if there is
none and its length is unknown. A tuple takes a quarter of the time of an object with attributes."""


def response_to(call: Call) -> Response:
    """Return the response for a call that is settled. A streamed reply's body is None."""
    outcome = call.outcome if call.failure is None else call.failure
    if not isinstance(outcome, Encoded):
        return refusal(outcome or CallError("the handler gave no outcome"), call, [])
    headers = [(b"content-type", outcome.content_type), (_SERVER_TIMING, call.clock.timing())]
    if call.request_id:
        headers.append((_REQUEST_ID, call.request_id))
    if outcome.headers:
        # The gateway would act on these headers.
        headers += [pair for pair in outcome.headers if not pair[0].lower().startswith(_OWN)]
    body = outcome.body
    return outcome.status, headers, body if isinstance(body, bytes) else None


def attempt_of(value: bytes) -> int:
    """Return the number in Envoy's header of attempts; 0 for anything else."""
    return int(value) if len(value) <= _DIGITS and value.isdigit() else 0


def refusal(error: DcfError, call: Call | None, headers: Headers) -> Response:
    """Return an error as a response: a problem document. Log an error of the handler.

    Args:
        error: The error.
        call: The call; None if it was not admitted.
        headers: The request's headers; only read if the call was not admitted.
    """
    found = [(b"content-type", http.PROBLEM.encode())]
    if call is not None:
        request_id = call.request.request_id
        log_failure(error, call)
        found.append((_SERVER_TIMING, call.clock.timing()))
    else:
        given = dict(headers).get(_REQUEST_ID, b"")
        request_id = (given if is_usable(given) else new_request_id()).decode("ascii")
    if call is None or call.request_id:
        found.append((_REQUEST_ID, request_id.encode("latin-1")))
    if isinstance(error, Overloaded | NotReady):
        found.append((_RETRY_AFTER, b"%d" % getattr(error, "retry_after", 1)))
    if isinstance(error, Overloaded | NotReady | ReplicaLost):
        found += _repeatable(error, call, headers)
    body = to_problem(error if call is None else visible_error(error, call), request_id)
    return status_of(type(error)).http, found, body


def _repeatable(error: DcfError, call: Call | None, headers: Headers) -> Headers:
    """Tell the client whether the handler had begun, and the gateway whether to try elsewhere."""
    if isinstance(error, ReplicaLost) or (call is not None and not call.may_begin_elsewhere):
        return [(_BEGUN, b"true")]
    attempt = attempt_of(dict(headers).get(ATTEMPT, b"")) if call is None else call.attempt
    moves = 0 < attempt <= OVERLOADS if isinstance(error, Overloaded) else attempt > 0
    return [(_BEGUN, b"false"), (_MOVE, b"1")] if moves else [(_BEGUN, b"false")]


def visible_error(error: DcfError, call: Call) -> DcfError:
    """Return the error in the form that this caller may see."""
    if not getattr(error, "traceback", ""):
        return error
    may_see = http.may_see_tracebacks(call.request.headers.get(http.REMOTE))
    return error if may_see else without_traceback(error)


def log_failure(error: DcfError, call: Call) -> None:
    """Log an error that the handler caused."""
    if isinstance(error, HandlerRaised | UnsupportedReply):
        logger.error("call %s: %s", call.request.request_id, reason(error))


def reason(error: DcfError) -> str:
    """Return the text of an error for the log: its traceback, if it has one."""
    return getattr(error, "traceback", "") or str(error)
