"""The WebSocket of one stream, without I/O: bytes in and out (websockets, RFC 6455)."""

from __future__ import annotations

from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from dcf.client.http11 import Http11Protocol
from dcf.errors import AnswerInvalid, BadRequest, BodyTooLarge, DcfError, ReplicaLost
from dcf.protocol.problem import error_of, from_problem
from dcf.protocol.stream import CONTROL, END, SUBPROTOCOL, CloseCode, StreamFailure, read_control

Message = bytes | str
"""What is sent: a binary or a text message."""
Item = bytes | StreamFailure
"""What arrives: a reply, or the error in place of one."""

HEARTBEAT = 10.0
"""Seconds between two pongs while nothing is read, so that no ping is seen. A watcher disconnects a
client that is silent for twice as long."""

_CONTROL = CONTROL.encode()

_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

_PONG = bytes((0x80 | Opcode.PONG,))
"""First byte of a pong frame."""

_CLOSED_BY = {
    CloseCode.TOO_LARGE: "BodyTooLarge",
    CloseCode.FAILED: "HandlerRaised",
    CloseCode.BUSY: "Overloaded",
    4504: "DeadlineExceeded",
}
"""Close codes that stand for an error. All others mean that the replica was lost."""


class StreamProtocol:
    """The handshake, the messages and the end of one stream (``dcf.v1``).

    Bytes to send are collected until :meth:`data_to_send` returns them.

    Attributes:
        has_opened: Whether the handshake has succeeded.
        is_over: Whether no more replies arrive.
        error: Why the stream is over; None if the other side ended it normally.
    """

    def __init__(
        self, target: str, headers: Iterable[tuple[str, str]], max_message: int | None = None
    ) -> None:
        """Start the handshake.

        Args:
            target: Path and query.
            headers: Additional headers, ``host`` among them.
            max_message: Maximum bytes of a reply. A larger one ends the stream before it is
                buffered. None for no limit.

        Raises:
            BadRequest: When a header or the path contains characters that HTTP does not allow.
        """
        self.has_opened = False
        self.is_over = False
        self.error: DcfError | None = None
        self._max_message = max_message
        self._parts: list[bytes] = []
        self._opcode = Opcode.BINARY
        self._has_ended = False
        self._pong = b""
        path, _, query = target.partition("?")
        self._ws = ClientProtocol(
            WebSocketURI(secure=False, host="localhost", port=80, path=path, query=query),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=max_message,
        )
        handshake = self._ws.connect().headers.raw_items()
        own = [(name, value) for name, value in handshake if name.lower() != "host"]
        # Written by the code that writes calls, so that the same headers are allowed.
        self._handshake = Http11Protocol().head("GET", target, (*headers, *own))

    @property
    def is_closed(self) -> bool:
        """Whether the other side has closed, so that the connection can be dropped."""
        return self._ws.close_rcvd is not None or self._ws.state is State.CLOSED

    def data_to_send(self, *, is_read: bool = True) -> bytes:
        """Return the bytes to send now.

        Args:
            is_read: Whether the other side reads. If it does not, answers to its pings would pile
                up. Only the newest answer is kept then; it replaces all earlier ones (RFC 6455,
                5.5.3).
        """
        handshake, self._handshake = self._handshake, b""
        frames = self._ws.data_to_send()
        if not is_read:
            pongs = [frame for frame in frames if frame[:1] == _PONG]
            frames = [frame for frame in frames if frame[:1] != _PONG]
            self._pong = pongs[-1] if pongs else self._pong
        elif self._pong:
            if self._ws.state is State.OPEN:
                frames.insert(0, self._pong)
            self._pong = b""
        return b"".join((handshake, *frames))

    def send(self, messages: Iterable[Message]) -> bool:
        """Send messages.

        Returns:
            Whether the other side still accepts messages. It does not once the stream is over.
        """
        if self.is_over or self._has_ended or self._ws.state is not State.OPEN:
            return False
        for message in messages:
            if isinstance(message, bytes):
                self._ws.send_binary(message)
            elif message.startswith(CONTROL):
                self._ws.send_binary(message.encode())
            else:
                self._ws.send_text(message.encode())
        return True

    def end(self) -> None:
        """Send the end of the messages."""
        if not self.is_over and not self._has_ended and self._ws.state is State.OPEN:
            self._has_ended = True
            self._ws.send_text(END.encode())

    def send_pong(self) -> None:
        """Send a pong without a ping, as a heartbeat (RFC 6455, 5.5.3)."""
        if self._ws.state is State.OPEN:
            self._ws.send_pong(b"")

    def close(self) -> None:
        """Close the stream: normally if all replies have arrived, else by giving it up."""
        if self._ws.state is State.OPEN:
            is_done = self.is_over and self.error is None
            self._ws.send_close(CloseCode.DONE if is_done else CloseCode.GOING_AWAY)
        self.is_over = True

    def feed(self, data: bytes) -> list[Item]:
        """Parse received bytes; b"" means that the other side has closed the connection.

        Returns:
            The replies that are complete now.

        Raises:
            DcfError: When the other side refuses the stream; the error that it reports.
            ReplicaLost: When the connection was closed before the stream began.
            AnswerInvalid: When the other side speaks another protocol.
        """
        if data:
            self._ws.receive_data(data)
        else:
            self._ws.receive_eof()
        items: list[Item] = []
        for event in self._ws.events_received():
            if isinstance(event, Frame):
                self._on_frame(event, items)
            elif isinstance(event, Response):
                self._on_response(event)
        if not self.has_opened:
            self._check_handshake()
        elif not self.is_over and self._ws.parser_exc is not None:
            self._finish(self._broken(self._ws.parser_exc))
        return items

    def _check_handshake(self) -> None:
        """Raise the error of a reply that is not HTTP. Versions of websockets report it in two
        ways.
        """
        failure = self._ws.handshake_exc
        reason = failure.__cause__ or failure if failure is not None else None
        if isinstance(reason, EOFError):
            raise ReplicaLost("the connection was closed before the stream began")
        if reason is not None:
            raise AnswerInvalid(f"expected HTTP, got another protocol: {reason}")

    def _on_response(self, response: Response) -> None:
        refusal = self._ws.handshake_exc
        if response.status_code >= 400:  # noqa: PLR2004  the first status of an error
            raise from_problem(response.status_code, bytes(response.body or b""))
        if refusal is not None or self._ws.subprotocol is None:
            raise AnswerInvalid(
                f"expected a WebSocket with the subprotocol {SUBPROTOCOL}, got"
                f" {refusal or f'HTTP {response.status_code}'}"
            )
        self.has_opened = True

    def _on_frame(self, frame: Frame, items: list[Item]) -> None:
        if self.is_over:
            return
        opcode = frame.opcode
        if opcode is Opcode.BINARY and frame.fin:
            items.append(bytes(frame.data))
        elif opcode is Opcode.TEXT and frame.fin:
            self._on_text(bytes(frame.data), items)
        elif opcode is Opcode.CLOSE:
            self._finish(self._closed_early())
        elif opcode in _DATA:
            self._opcode = self._opcode if opcode is Opcode.CONT else opcode
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                if self._opcode is Opcode.TEXT:
                    self._on_text(whole, items)
                else:
                    items.append(whole)

    def _on_text(self, data: bytes, items: list[Item]) -> None:
        if not data.startswith(_CONTROL):
            items.append(data)
            return
        try:
            failure = read_control(data.decode())
        except (BadRequest, UnicodeDecodeError) as error:
            self._finish(AnswerInvalid(f"the stream has an invalid control message: {error}"))
            return
        if failure is None:
            self._finish(None)
        elif failure.final:
            self._finish(failure.error)
        else:
            items.append(failure)

    def _finish(self, error: DcfError | None) -> None:
        self.is_over = True
        self.error = error

    def _closed_early(self) -> DcfError:
        close = self._ws.close_rcvd
        assert close is not None  # noqa: S101  a close frame has arrived
        reason = close.reason or f"the stream was closed before its end, with code {close.code}"
        return error_of({"error": _CLOSED_BY.get(close.code, "ReplicaLost"), "detail": reason})

    def _broken(self, error: Exception) -> DcfError:
        if isinstance(error, PayloadTooBig) and self._max_message is not None:
            return BodyTooLarge(self._max_message)
        if isinstance(error, EOFError):
            return ReplicaLost("the connection was closed during the stream")
        return AnswerInvalid(f"the other side violates the WebSocket protocol: {error}")
