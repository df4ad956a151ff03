"""Streams on the wire: messages both ways, their end, and errors in their midst.

On a WebSocket (RFC 6455) a data message is one message of the stream, binary or text. The protocol
has a close but no end of one side, and a close cannot carry an error; so with the subprotocol
:data:`SUBPROTOCOL` a text message that begins with :data:`CONTROL` is no data but a word between
the two ends. A text of the stream's own that begins so goes as a binary message instead: a stream
is of bytes, and both are the same to its reader. Without the subprotocol there are no such words,
and a close ends both sides.
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
"""``Sec-WebSocket-Protocol`` of clients that know the words."""

CONTROL = '{"dcf":'
"""How a word begins."""

END = '{"dcf": "end"}'
"""No message comes any more from who says it; from the other side they may still come."""

JSON_LINES = "application/x-ndjson"
"""A message is a line: JSON, with a line feed behind it."""
JSON_LINES_TOO = frozenset({JSON_LINES, "application/jsonl", "application/x-jsonlines"})
"""What the same is called by others."""
EVENTS = "text/event-stream"
"""Server-Sent Events (HTML Living Standard, 9.2): a message is an event."""


def wanted_form(accept: str) -> str | None:
    """How a caller wants the messages of a stream told apart, by its ``Accept`` header.

    Returns:
        :data:`JSON_LINES`, :data:`EVENTS`, the first of them that is named, or None for neither.
    """
    for one in accept.split(","):
        kind = media_type(one)
        if kind == EVENTS or kind in JSON_LINES_TOO:
            return EVENTS if kind == EVENTS else JSON_LINES
    return None


def media_type(value: str) -> str:
    """A media type without its parameters, in lower case."""
    return value.partition(";")[0].strip().lower()


class CloseCode(IntEnum):
    """Why a WebSocket is closed (RFC 6455, 7.4; those up to 1014 are registered with IANA)."""

    DONE = 1000
    """All messages are through."""
    GOING_AWAY = 1001
    """The client's end: it wants no more."""
    NO_TEXT = 1007
    """A text message is not UTF-8."""
    TOO_LARGE = 1009
    """A message is over the limit."""
    FAILED = 1011
    """The handler failed."""
    RESTART = 1012
    """The replica ends; the next connection meets another one."""
    BUSY = 1013
    """There is no room; later there may be."""


OWN_CODES = 4000
"""An error without a code of its own has this and its HTTP status: 4504 past a deadline."""

_CODES: dict[type[errors.DcfError], CloseCode] = {
    errors.BodyTooLarge: CloseCode.TOO_LARGE,
    errors.HandlerRaised: CloseCode.FAILED,
    errors.UnsupportedReply: CloseCode.FAILED,
    errors.NotReady: CloseCode.RESTART,
    errors.ReplicaLost: CloseCode.RESTART,
    errors.Overloaded: CloseCode.BUSY,
}

REASON = 123
"""Bytes of UTF-8 that a close may give as its reason (RFC 6455, 5.5)."""


@dataclass(frozen=True, slots=True)
class MessageFailure:
    """What a word says of an error.

    Attributes:
        error: The error.
        final: Whether the stream ends with it; else it stands in the place of one reply.
    """

    error: errors.DcfError
    final: bool = True


def close_code(error: errors.DcfError) -> int:
    """The code with which a stream that ends with ``error`` is closed."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return OWN_CODES + status_of(type(error)).http


def close_reason(error: errors.DcfError) -> str:
    """The beginning of an error's text, as long as a close may have it."""
    return str(error).encode(errors="replace")[:REASON].decode(errors="ignore")


def failure_word(failure: MessageFailure, request_id: str = "") -> str:
    """An error as a word: a problem document (RFC 9457) and whether it ends the stream."""
    members = {"dcf": "error", "final": failure.final}
    problem = problem_members(failure.error, request_id)
    return json_bytes({**members, "problem": problem}).decode()


def read_word(text: str) -> MessageFailure | None:
    """What a text message that begins with :data:`CONTROL` says.

    Returns:
        None for the end of the other side's messages, else its error.

    Raises:
        BadRequest: When it is neither.
    """
    try:
        members: Any = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    word = members.get("dcf") if isinstance(members, dict) else None
    if word == "end":
        return None
    if word == "error" and isinstance(members.get("problem"), dict):
        return MessageFailure(error_of(members["problem"]), members.get("final") is not False)
    raise errors.BadRequest(
        f"a text message that begins with {CONTROL} is a word of {SUBPROTOCOL}, {END} or an error;"
        " data that begins so goes as a binary message"
    )
