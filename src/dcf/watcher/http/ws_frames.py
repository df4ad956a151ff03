"""Reads and writes the plain WebSocket frames (RFC 6455, 5.2): whole data messages.

The library ``websockets`` takes 12 µs to read a small frame; this module takes a tenth of that for
a plain one. It passes all other frames to the library, one whole frame at a time: a close,
fragments, and frames that break a rule (figures: docs/decisions/0024-streams.md). It also reads
pings and pongs, because a client may send nothing else, as fast as it can.
"""

from __future__ import annotations

from struct import pack

from dcf.watcher.http.third_party import Frame, Opcode, ServerProtocol, State, apply_mask

TEXT = 1
BINARY = 2

_WHOLE = 0x80
"""No fragment of the message follows."""
_MASKED = 0x80
_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_PLAIN = frozenset({_WHOLE | TEXT, _WHOLE | BINARY})
_PLAIN_TEXT = _WHOLE | TEXT
_PING = _WHOLE | Opcode.PING
PONG = _WHOLE | Opcode.PONG
_CONTROL = 0x08
_LONGEST_CONTROL = 125
_SHORT = {
    opcode: tuple(bytes((_WHOLE | opcode, size)) for size in range(126))
    for opcode in (TEXT, BINARY)
}


def pong(data: bytes) -> bytes:
    """Return the unmasked pong frame for a ping with ``data``."""
    return bytes((PONG, len(data))) + data


def frame(opcode: int, data: bytes) -> bytes:
    """Return the frame of a whole message from the server, which has no mask."""
    size = len(data)
    if size < 126:  # noqa: PLR2004  RFC 6455, 5.2, as below
        return _SHORT[opcode][size] + data
    if size < 65536:  # noqa: PLR2004
        return pack("!BBH", _WHOLE | opcode, 126, size) + data
    return pack("!BBQ", _WHOLE | opcode, 127, size) + data


class WebSocketFrameReader:
    """Extracts the messages from the bytes that a client sends."""

    def __init__(self, protocol: ServerProtocol, largest: int) -> None:
        """Create a reader for a connection after its handshake.

        Args:
            protocol: Gets the frames that are not plain. The caller must send its replies and check
                its state.
            largest: Maximum size of a message in bytes, the same as the protocol's.
        """
        self._protocol = protocol
        self._largest = largest
        self._left = bytearray()
        # One buffer, not a list: fragments may have one byte each, or be empty.
        self._parts = bytearray()
        self._in_parts = False
        self._text = False
        self._is_over = False

    @property
    def pending(self) -> int:
        """Bytes of a message that has not arrived completely."""
        return len(self._left) + len(self._parts)

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Read bytes from the client.

        Bytes after a close frame, or after a frame that breaks the rules, are ignored
        (RFC 6455, 5.5.1 and 7.1.7).

        Returns:
            Each complete message: whether it is a text message, and its bytes.
        """
        messages: list[tuple[bool, bytes]] = []
        if self._is_over:
            return messages
        if self._left:
            self._left += data
            with memoryview(self._left) as view:
                position = self._read(view, messages)
            del self._left[:position]
        else:
            position = self._read(data, messages)
            if position < len(data):
                self._left += memoryview(data)[position:]
        return messages

    def _read(self, data: bytes | memoryview, messages: list[tuple[bool, bytes]]) -> int:
        """Read all complete frames. Return the position after the last of them."""
        position, size = 0, len(data)
        while size - position > 1:
            first, second = data[position], data[position + 1]
            length, start = second & 0x7F, position + 6
            if length > 125:  # noqa: PLR2004
                start += 2 if length == 126 else 8  # noqa: PLR2004
                if size < start and second & _MASKED:
                    break
                length = int.from_bytes(data[position + 2 : start - 4])
            if not second & _MASKED or length > self._room(first):
                # The frame breaks a rule. The library knows which one.
                self._by_library(bytes(data[position:]), messages)
                return size
            end = start + length
            if end > size:
                break
            if first in _PLAIN and not self._in_parts:
                message = apply_mask(data[start:end], bytes(data[start - 4 : start]))
                messages.append((first == _PLAIN_TEXT, message))
            elif first in {_PING, PONG} and self._takes_control(length):
                if first == _PING:
                    text = apply_mask(data[start:end], bytes(data[start - 4 : start]))
                    self._protocol.writes.append(pong(text))
            else:
                self._by_library(bytes(data[position:end]), messages)
                if self._is_over:
                    return size
            position = end
        return position

    def _room(self, first: int) -> int:
        """Return how many bytes a frame may add to the fragments that came before it."""
        return self._largest - (0 if first & _CONTROL else len(self._parts))

    def _takes_control(self, length: int) -> bool:
        """Return whether a ping or pong follows the rules and comes before any close."""
        return length <= _LONGEST_CONTROL and self._protocol.state is State.OPEN

    def _by_library(self, data: bytes, messages: list[tuple[bool, bytes]]) -> None:
        if self._protocol.state is State.CLOSED:
            return
        self._protocol.receive_data(data)
        self._is_over = not (
            self._protocol.parser_exc is None and self._protocol.close_rcvd is None
        )
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in {
                Opcode.TEXT,
                Opcode.BINARY,
                Opcode.CONT,
            }:
                self._add(event, messages)

    def _add(self, part: Frame, messages: list[tuple[bool, bytes]]) -> None:
        if part.opcode is not Opcode.CONT:
            self._text = part.opcode is Opcode.TEXT
        self._parts += part.data
        self._in_parts = not part.fin
        if part.fin:
            messages.append((self._text, bytes(self._parts)))
            self._parts = bytearray()
