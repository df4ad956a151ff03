"""How the replies of a stream are told apart on the wire."""

from __future__ import annotations

import base64
import re
from typing import Any, Protocol

from dcf.function.reply import Encoded, MessageKind, encode_chunk, encode_message
from dcf.function.request import Request
from dcf.protocol import http, stream
from dcf.protocol.problem import problem_members
from dcf.protocol.stream import StreamFailure
from dcf.protocol.text import json_bytes
from dcf.watcher.http.ws_frames import BINARY, TEXT, frame

_LINE_END = re.compile(rb"\r\n|\r|\n")
_CONTROL = stream.CONTROL.encode()


class StreamEncoder(Protocol):
    """One way."""

    def message(self, value: Any) -> bytes:
        """A reply of the handler.

        Raises:
            UnsupportedReply: When it cannot be sent.
        """

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """An error; empty where there is no way to tell it."""

    def end(self) -> bytes:
        """What comes behind the last reply; may be empty."""


class RawEncoder:
    """One reply behind the other, without a boundary."""

    def message(self, value: Any) -> bytes:
        """The reply's bytes."""
        return encode_chunk(value)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:  # noqa: ARG002  the interface's
        """Nothing: what breaks off is not whole, and can say no more than that."""
        return b""

    def end(self) -> bytes:
        """Nothing."""
        return b""


class JsonLinesEncoder:
    """A line of JSON for each (``application/x-ndjson``)."""

    def message(self, value: Any) -> bytes:
        """The reply as JSON."""
        data, kind = encode_message(value)
        if kind is MessageKind.JSON:
            return data + b"\n"
        try:
            return json_bytes(data.decode()) + b"\n"
        except UnicodeDecodeError:
            return json_bytes(_in_ascii(data)) + b"\n"

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """A line with the problem document as its member ``error``."""
        return json_bytes({"error": problem_members(failure.error, request_id)}) + b"\n"

    def end(self) -> bytes:
        """Nothing: the body's own end is one."""
        return b""


class SseEncoder:
    """An event for each (``text/event-stream``)."""

    def message(self, value: Any) -> bytes:
        """The reply as text."""
        data, _ = encode_message(value)
        try:
            data.decode()
        except UnicodeDecodeError:
            data = json_bytes(_in_ascii(data))
        return _event(data)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """An event of the type ``error`` with the problem document."""
        return b"event: error\n" + _event(json_bytes(problem_members(failure.error, request_id)))

    def end(self) -> bytes:
        """An event of the type ``end``: a browser would connect once more without it."""
        return b"event: end\ndata:\n\n"


class WebSocketEncoder:
    """A message of a WebSocket for each."""

    def __init__(self, *, words: bool) -> None:
        """Frames for a client.

        Args:
            words: Whether it knows the words of ``dcf.v1``.
        """
        self._words = words

    def message(self, value: Any) -> bytes:
        """The reply as a binary or text message."""
        data, kind = encode_message(value)
        if kind is MessageKind.BINARY or (self._words and data.startswith(_CONTROL)):
            return frame(BINARY, data)
        if kind is MessageKind.TEXT and not is_utf8(data):
            return frame(BINARY, data)
        return frame(TEXT, data)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """A word; nothing for a client that knows none."""
        word = stream.failure_control(failure, request_id)
        return frame(TEXT, word.encode()) if self._words else b""

    def end(self) -> bytes:
        """A word; nothing for a client that knows none."""
        return frame(TEXT, stream.END.encode()) if self._words else b""


RAW, LINES, EVENTS = RawEncoder(), JsonLinesEncoder(), SseEncoder()


def choose(request: Request, reply: Encoded) -> StreamEncoder:
    """The form in which a caller over HTTP gets a streamed reply; the reply's head says so too.

    An author who has named a content type has chosen the form as well.
    """
    if reply.content_type != http.BINARY.encode():
        return RAW
    match stream.accepted_format(request.headers.get("accept", "")):
        case stream.JSON_LINES:
            reply.content_type = stream.JSON_LINES.encode()
            return LINES
        case stream.EVENTS:
            reply.content_type = stream.EVENTS.encode()
            # Neither kept nor collected on the way.
            reply.headers += ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
            return EVENTS
    return RAW


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is text as WebSocket wants it."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _event(data: bytes) -> bytes:
    lines = _LINE_END.split(data)
    return b"".join((*(b"data: %b\n" % line for line in lines), b"\n"))


def _in_ascii(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode("ascii")}
