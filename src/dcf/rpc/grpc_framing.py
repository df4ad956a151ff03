"""gRPC's messages on their way, and the two of ``Invokes`` in them, read and written by hand.

A process that only passes messages on has no use for protobuf's classes: those two have a name and
some bytes, and an object for each would cost more than all the rest that is done to it.
"""

from __future__ import annotations

import re

from dcf.errors import BadRequest, BodyTooLarge, MethodNotAllowed

PREFIX = 5
"""Bytes in front of a message: a flag, and the length (grpc/grpc, doc/PROTOCOL-HTTP2.md)."""

ROUND_INPUT = 1024
"""Bytes that the name and the tags of a request may take beside its Input."""

_SERVICE = 0x0A
_INPUT = 0x12
_OUTPUT = b"\x0a"
"""Tags: the field's number times eight, and two for bytes with their length in front."""
_MORE = 0x80
"""Set in each byte of a varint but the last one."""

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DEAR = re.compile(rb"[^ -$&-~]")


class FrameReader:
    """Takes bytes as they come and gives whole messages."""

    def __init__(self, most: int) -> None:
        """Nothing is there yet.

        Args:
            most: Bytes of Input that a message may have.
        """
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = PREFIX

    @property
    def is_amid(self) -> bool:
        """Whether a message has begun that is not there whole."""
        return self._size > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now.

        Raises:
            BodyTooLarge: When one is larger than allowed.
            MethodNotAllowed: When one is compressed.
        """
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return []
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        found = []
        at, end = 0, len(buffer)
        self._wanted = PREFIX
        while end - at >= PREFIX:
            begin = at + PREFIX
            length = int.from_bytes(buffer[at + 1 : begin], "big")
            if length > self._most + ROUND_INPUT:
                raise BodyTooLarge(self._most)
            if buffer[at]:
                raise MethodNotAllowed("messages are taken as they are here, not compressed")
            if end - begin < length:
                self._wanted = PREFIX + length
                break
            at = begin + length
            found.append(buffer[begin:at])
        rest = buffer[at:]
        self._parts = [rest] if rest else []
        self._size = len(rest)
        return found


def read_request(data: bytes) -> tuple[bytes, bytes]:
    """Service and Input of an ``InvokeServiceRequest``.

    Of a field that comes several times the last one counts, as everywhere in protobuf; one that is
    not known here is passed over.

    Raises:
        BadRequest: When it is malformed.
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
        raise BadRequest("the message is malformed: it is no InvokeServiceRequest")
    return service, given


def framed_output(output: bytes) -> bytes:
    """A ``Messages``, ready to be sent; one without Output has nothing in it."""
    length = len(output)
    if not length:
        return bytes(PREFIX)
    if length < _MORE - 2:
        return b"\0\0\0\0%c\n%c%b" % (length + 2, length, output)
    head = _OUTPUT + _varint_of(length)
    return b"\0%b%b%b" % ((len(head) + length).to_bytes(4, "big"), head, output)


def read_timeout(text: str) -> float | None:
    """Seconds of a ``grpc-timeout``; None when it is none."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def percent_encoded(text: str) -> bytes:
    """A ``grpc-message``."""
    return _DEAR.sub(lambda one: b"%%%02X" % one[0][0], text.encode(errors="replace"))


def _skip(data: bytes, at: int, tag: int) -> int:
    """The place behind a field that is not known here; beyond the end when it cannot be told."""
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
    for place in range(at, at + 10):
        one = data[place]
        value |= (one & 0x7F) << shift
        if one < _MORE:
            return value, place + 1
        shift += 7
    raise IndexError(at)


def _varint_of(number: int) -> bytes:
    written = bytearray()
    while number >= _MORE:
        written.append(number & 0x7F | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)
