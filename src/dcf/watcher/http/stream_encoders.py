"""Encodes the replies of a stream, so that a client can separate them."""

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
    """Encodes the messages of one reply."""

    def message(self, value: Any) -> bytes:
        """Encode a reply of the handler.

        Raises:
            UnsupportedReply: If it cannot be sent.
        """

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """Encode an error. Return b"" if this encoding cannot express errors."""

    def end(self) -> bytes:
        """Return the bytes after the last reply; may be empty."""


class RawEncoder:
    """Concatenates the replies, without boundaries."""

    def message(self, value: Any) -> bytes:
        """Return the reply's bytes."""
        return encode_chunk(value)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:  # noqa: ARG002  the interface's
        """Return b"": the client notices only that the reply is incomplete."""
        return b""

    def end(self) -> bytes:
        """Return b""."""
        return b""


class JsonLinesEncoder:
    """Encodes each reply as a line of JSON (``application/x-ndjson``)."""

    def message(self, value: Any) -> bytes:
        """Encode the reply as JSON."""
        data, kind = encode_message(value)
        if kind is MessageKind.JSON:
            return data + b"\n"
        try:
            return json_bytes(data.decode()) + b"\n"
        except UnicodeDecodeError:
            return json_bytes(_in_ascii(data)) + b"\n"

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """Encode the error as a line whose member ``error`` is the problem document."""
        return json_bytes({"error": problem_members(failure.error, request_id)}) + b"\n"

    def end(self) -> bytes:
        """Return b"": the end of the body is the end of the stream."""
        return b""


class SseEncoder:
    """Encodes each reply as a server-sent event (``text/event-stream``)."""

    def message(self, value: Any) -> bytes:
        """Encode the reply as text."""
        data, _ = encode_message(value)
        try:
            data.decode()
        except UnicodeDecodeError:
            data = json_bytes(_in_ascii(data))
        return _event(data)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """Encode the error as an event of the type ``error`` with the problem document."""
        return b"event: error\n" + _event(json_bytes(problem_members(failure.error, request_id)))

    def end(self) -> bytes:
        """Return an event of the type ``end``. Without it, a browser would reconnect."""
        return b"event: end\ndata:\n\n"


class WebSocketEncoder:
    """Encodes each reply as a WebSocket message."""

    def __init__(self, *, words: bool) -> None:
        """Create an encoder.

        Args:
            words: Whether the client understands the control words of ``dcf.v1``.
        """
        self._words = words

    def message(self, value: Any) -> bytes:
        """Encode the reply as a binary or text message."""
        data, kind = encode_message(value)
        if kind is MessageKind.BINARY or (self._words and data.startswith(_CONTROL)):
            return frame(BINARY, data)
        if kind is MessageKind.TEXT and not is_utf8(data):
            return frame(BINARY, data)
        return frame(TEXT, data)

    def failure(self, failure: StreamFailure, request_id: str) -> bytes:
        """Encode the error as a control word, if the client understands them."""
        word = stream.failure_control(failure, request_id)
        return frame(TEXT, word.encode()) if self._words else b""

    def end(self) -> bytes:
        """Return the control word for the end, if the client understands it."""
        return frame(TEXT, stream.END.encode()) if self._words else b""


RAW, LINES, EVENTS = RawEncoder(), JsonLinesEncoder(), SseEncoder()


def choose(request: Request, reply: Encoded) -> StreamEncoder:
    """Return the encoder of a streamed reply over HTTP, and set the reply's content type.

    If the author set a content type, the replies are sent raw.
    """
    if reply.content_type != http.BINARY.encode():
        return RAW
    match stream.accepted_format(request.headers.get("accept", "")):
        case stream.JSON_LINES:
            reply.content_type = stream.JSON_LINES.encode()
            return LINES
        case stream.EVENTS:
            reply.content_type = stream.EVENTS.encode()
            # Proxies must neither cache nor buffer it.
            reply.headers += ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
            return EVENTS
    return RAW


def is_utf8(data: bytes) -> bool:
    """Return whether ``data`` is UTF-8, as WebSocket requires for text."""
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
