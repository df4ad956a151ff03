"""gRPC framing, and the two messages of ``Invokes``, without protobuf's classes.

The bridge only forwards messages, which consist of a name and bytes. Creating a protobuf object for
each would take more time than all its other work.
"""

from __future__ import annotations

import re

from dcf.errors import BadRequest, BodyTooLarge, MethodNotAllowed

PREFIX = 5
"""Size of a message's prefix in bytes: a flag and the length (grpc/grpc, doc/PROTOCOL-HTTP2.md)."""

ROUND_INPUT = 1024
"""Maximum bytes of a request's name and tags, without its Input."""

_SERVICE = 0x0A
_INPUT = 0x12
_OUTPUT = b"\x0a"
"""Tags: the field's number times 8, plus 2 for bytes with a length prefix."""
_MORE = 0x80
"""Set in each byte of a varint except the last."""

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_ESCAPED = re.compile(rb"[^ -$&-~]")


class FrameReader:
    """Splits a stream of bytes into messages."""

    def __init__(self, limit: int) -> None:
        """Create a reader.

        Args:
            limit: Maximum bytes of a message's Input.
        """
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = PREFIX

    @property
    def is_amid(self) -> bool:
        """Whether a message has arrived in part."""
        return self._size > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes, and return the messages that are complete now.

        Raises:
            BodyTooLarge: If a message exceeds the limit.
            MethodNotAllowed: If a message is compressed.
        """
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return []
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        messages = []
        at, end = 0, len(buffer)
        self._needed = PREFIX
        while end - at >= PREFIX:
            begin = at + PREFIX
            length = int.from_bytes(buffer[at + 1 : begin], "big")
            if length > self._limit + ROUND_INPUT:
                raise BodyTooLarge(self._limit)
            if buffer[at]:
                raise MethodNotAllowed("expected an uncompressed message, got a compressed one")
            if end - begin < length:
                self._needed = PREFIX + length
                break
            at = begin + length
            messages.append(buffer[begin:at])
        rest = buffer[at:]
        self._parts = [rest] if rest else []
        self._size = len(rest)
        return messages


def read_request(data: bytes) -> tuple[bytes, bytes]:
    """Return Service and Input of an ``InvokeServiceRequest``.

    As usual in protobuf, the last value of a repeated field wins, and unknown fields are skipped.

    Raises:
        BadRequest: If the message is malformed.
    """
    service = given = b""
    at, end = 0, len(data)
    try:
        while at < end:
            tag, at = data[at], at + 1
            if tag >= _MORE:
                tag, at = _varint(data, at - 1)
            if tag not in {_SERVICE, _INPUT}:
                at = _skip(data, at, tag)
                continue
            length, at = data[at], at + 1
            if length >= _MORE:
                length, at = _varint(data, at - 1)
            value = data[at : at + length]
            at += length
            if tag == _SERVICE:
                service = value
            else:
                given = value
    except IndexError:
        at = end + 1
    if at != end:
        raise BadRequest("the message is malformed: expected InvokeServiceRequest")
    return service, given


def framed_output(output: bytes) -> bytes:
    """Return a ``Messages`` with its prefix. Without Output it is empty."""
    length = len(output)
    if not length:
        return bytes(PREFIX)
    if length < _MORE - 2:
        return b"\0\0\0\0%c\n%c%b" % (length + 2, length, output)
    head = _OUTPUT + _varint_of(length)
    return b"\0%b%b%b" % ((len(head) + length).to_bytes(4, "big"), head, output)


def read_timeout(text: str) -> float | None:
    """Return the seconds of a ``grpc-timeout``; None if it is invalid."""
    match = _TIMEOUT.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2]] if match else None


def percent_encoded(text: str) -> bytes:
    """Return ``text`` as a ``grpc-message``."""
    return _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], text.encode(errors="replace"))


def _skip(data: bytes, at: int, tag: int) -> int:
    """Return the index after an unknown field; beyond the end if the field is malformed."""
    field, kind = tag >> 3, tag & 7
    if field in {0, _SERVICE >> 3, _INPUT >> 3}:
        return len(data) + 1
    match kind:
        case 0:
            return _varint(data, at)[1]
        case 1:
            return at + 8
        case 2:
            length, at = _varint(data, at)
            return at + length
        case 5:
            return at + 4
        case _:
            return len(data) + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(at, at + 10):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, index + 1
        shift += 7
    raise IndexError(at)


def _varint_of(number: int) -> bytes:
    written = bytearray()
    while number >= _MORE:
        written.append(number & 0x7F | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)
