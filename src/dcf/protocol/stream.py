"""Streams on the wire: messages in both directions, the end of each direction, and errors.

On a WebSocket (RFC 6455) a data message, binary or text, is one message of the stream. WebSocket
can close only both directions at once, and a close cannot carry an error. So with the subprotocol
:data:`SUBPROTOCOL` a text message that begins with :data:`CONTROL` is a control message, not data.
If a text of the stream itself begins like that, it is sent as a binary message: a stream consists
of bytes, so both are equal to its reader. Without the subprotocol there are no control messages,
and a close ends both directions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from dcf import errors
from dcf.protocol.problem import error_of, problem_members
from dcf.protocol.status_codes import status_of
from dcf.protocol.text import json_bytes

SUBPROTOCOL = "dcf.v1"
"""``Sec-WebSocket-Protocol`` of clients that understand control messages."""

CONTROL = '{"dcf":'
"""Prefix of a control message."""

END = '{"dcf": "end"}'
"""Control message: the sender sends no more messages. The other side may still send some."""

JSON_LINES = "application/x-ndjson"
"""Each message is a line of JSON that ends with a line feed."""
JSON_LINES_NAMES = frozenset({JSON_LINES, "application/jsonl", "application/x-jsonlines"})
"""All media types of JSON lines."""
EVENTS = "text/event-stream"
"""Server-Sent Events (HTML Living Standard, 9.2): each message is an event."""


def accepted_format(accept: str) -> str | None:
    """Return the format in which a caller accepts the messages of a stream.

    Args:
        accept: The ``Accept`` header.

    Returns:
        :data:`JSON_LINES` or :data:`EVENTS`, whichever comes first; None for neither.
    """
    for item in accept.split(","):
        kind = media_type(item)
        if kind == EVENTS or kind in JSON_LINES_NAMES:
            return EVENTS if kind == EVENTS else JSON_LINES
    return None


def media_type(value: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return value.partition(";")[0].strip().lower()


class CloseCode(IntEnum):
    """Codes of a WebSocket's close (RFC 6455, 7.4). IANA registers the codes up to 1014."""

    DONE = 1000
    """All messages were sent."""
    GOING_AWAY = 1001
    """The client ended the stream."""
    NO_TEXT = 1007
    """A text message is not UTF-8."""
    TOO_LARGE = 1009
    """A message is over the limit."""
    FAILED = 1011
    """The handler failed."""
    RESTART = 1012
    """The replica stops. The next connection reaches another replica."""
    BUSY = 1013
    """The queue is full; retry later."""


OWN_CODES = 4000
"""Added to the HTTP status of an error without a code of its own: 4504 for a missed deadline."""

_CODES: dict[type[errors.DcfError], CloseCode] = {
    errors.BodyTooLarge: CloseCode.TOO_LARGE,
    errors.HandlerRaised: CloseCode.FAILED,
    errors.UnsupportedReply: CloseCode.FAILED,
    errors.NotReady: CloseCode.RESTART,
    errors.ReplicaLost: CloseCode.RESTART,
    errors.Overloaded: CloseCode.BUSY,
}

REASON = 123
"""Maximum bytes of a close's reason in UTF-8 (RFC 6455, 5.5)."""


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """An error in a control message.

    Attributes:
        error: The error.
        final: Whether it ends the stream; otherwise it replaces one reply.
    """

    error: errors.DcfError
    final: bool = True


def close_code(error: errors.DcfError) -> int:
    """Return the close code of a stream that ends with ``error``."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return OWN_CODES + status_of(type(error)).http


def close_reason(error: errors.DcfError) -> str:
    """Return the error's message, shortened to the limit of a close."""
    return str(error).encode(errors="replace")[:REASON].decode(errors="ignore")


def failure_control(failure: StreamFailure, request_id: str = "") -> str:
    """Return the control message of an error, with its problem document (RFC 9457)."""
    members = {"dcf": "error", "final": failure.final}
    problem = problem_members(failure.error, request_id)
    return json_bytes({**members, "problem": problem}).decode()


def read_control(text: str) -> StreamFailure | None:
    """Parse a control message.

    Args:
        text: A text message that begins with :data:`CONTROL`.

    Returns:
        None for the end of the other side's messages, else its error.

    Raises:
        BadRequest: If it is neither.
    """
    try:
        members: Any = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    kind = members.get("dcf") if isinstance(members, dict) else None
    if kind == "end":
        return None
    if kind == "error" and isinstance(members.get("problem"), dict):
        return StreamFailure(error_of(members["problem"]), members.get("final") is not False)
    raise errors.BadRequest(
        f"expected {END} or an error after {CONTROL} in a text message, got {text!r:.80}; with the"
        f" subprotocol {SUBPROTOCOL}, send data that begins like that as a binary message"
    )
