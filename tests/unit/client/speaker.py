"""A server's end of a stream, on a scripted server's connection, that does as a test says."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from dcf.errors import DcfError
from dcf.protocol.stream import END, SUBPROTOCOL, StreamFailure, failure_control
from unit.client.kit import Peer

Data = bytes | str


class Speaker:
    """One stream, from its handshake on.

    Attributes:
        request: The handshake's path and headers.
        closed: The client's close, once it has come.
    """

    def __init__(self, peer: Peer, *, subprotocol: str = SUBPROTOCOL, accept: bool = True) -> None:
        self._socket = peer.socket
        offered = [Subprotocol(subprotocol)] if subprotocol else None
        self._protocol = ServerProtocol(subprotocols=offered, max_size=None)
        self._events: deque[Any] = deque()
        self.closed: Close | None = None
        self.request: Request = self._event()
        if accept:
            self._protocol.send_response(self._protocol.accept(self.request))
            self._flush()

    def event(self) -> Data | None:
        """The next message or word of the client; None once it has closed, or is gone."""
        while (frame := self._event()) is not None:
            if frame.opcode is Opcode.CLOSE:
                self.closed = Close.parse(frame.data)
                return None
            if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
                data = bytes(frame.data)
                return data.decode() if frame.opcode is Opcode.TEXT else data
        return None

    def messages(self) -> Iterator[Data]:
        """What comes until the client's END."""
        while (message := self.event()) != END:
            assert message is not None, f"the client closed: {self.closed}"
            yield message

    def send(self, *messages: Data) -> None:
        for message in messages:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
        self._flush()

    def send_in_parts(self, *parts: Data) -> None:
        """One message in several frames."""
        first, *rest = [part.encode() if isinstance(part, str) else part for part in parts]
        begin = (
            self._protocol.send_text if isinstance(parts[0], str) else self._protocol.send_binary
        )
        begin(first, fin=False)
        for place, part in enumerate(rest, 1):
            self._protocol.send_continuation(part, fin=place == len(rest))
        self._flush()

    def ping(self) -> None:
        """Sends a ping and waits for its answer."""
        self._protocol.send_ping(b"there?")
        self._flush()
        assert self.pong() == b"there?"

    def pong(self) -> bytes:
        """Waits for an answer to a ping, or one without."""
        while (frame := self._event()) is not None:
            if frame.opcode is Opcode.PONG:
                return bytes(frame.data)
        raise AssertionError("the client is gone")

    def fail(self, error: DcfError, *, final: bool = True) -> None:
        """Sends an error's word."""
        self.send(failure_control(StreamFailure(error, final)))

    def end(self) -> None:
        """Sends END, then closes."""
        self.send(END)
        self.close()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes, and waits until the client has."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Reads until the client is gone."""
        with contextlib.suppress(ConnectionResetError):
            while self.event() is not None:
                pass

    def raw(self, data: bytes) -> None:
        """Sends what may be no frame."""
        self._socket.sendall(data)

    def _event(self) -> Any:
        while not self._events:
            if self._protocol.state is State.CLOSED:
                return None
            if data := self._socket.recv(65536):
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            self._events.extend(self._protocol.events_received())
            self._flush()
        return self._events.popleft()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data is not SEND_EOF:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._socket.sendall(data)


def frames(*sent: tuple[Opcode, bytes]) -> bytes:
    """Frames as a server sends them."""
    return b"".join(Frame(opcode, data).serialize(mask=False) for opcode, data in sent)
