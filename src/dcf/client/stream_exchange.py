"""A stream's WebSocket of one connection, without the connection: what both faces share."""

from __future__ import annotations

from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from dcf.client.exchange import Exchange
from dcf.errors import AnswerInvalid, BadRequest, BodyTooLarge, DcfError, ReplicaLost
from dcf.protocol.problem import error_of, from_problem
from dcf.protocol.stream import CONTROL, END, SUBPROTOCOL, CloseCode, StreamFailure, read_control

Message = bytes | str
"""What is sent: as a binary message or as a text."""
Item = bytes | StreamFailure
"""What comes: a reply, or what stands in the place of one."""

HEARTBEAT = 10.0
"""Seconds between two signs of life where nothing is read, so that no ping is seen: a watcher gives
a client up that is silent for twice as long."""

_WORD = CONTROL.encode()

_IN_PARTS = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

_PONG = bytes((0x80 | Opcode.PONG,))
"""First byte of a pong frame."""

_CLOSED_BY = {
    CloseCode.TOO_LARGE: "BodyTooLarge",
    CloseCode.FAILED: "HandlerRaised",
    CloseCode.BUSY: "Overloaded",
    4504: "DeadlineExceeded",
}
"""Close codes that tell the error by themselves; after all others, the replica was lost."""


class StreamExchange:
    """The handshake, the messages and the end of one stream (RFC 6455, ``dcf.v1``).

    What is to be sent is collected until :meth:`outgoing` takes it.

    Attributes:
        opened: Whether the handshake is over, and well.
        over: Whether nothing comes any more.
        error: Why it is over, where the other side's messages did not simply end.
    """

    def __init__(
        self, target: str, headers: Iterable[tuple[str, str]], most: int | None = None
    ) -> None:
        """Begins the handshake.

        Args:
            target: Path and query.
            headers: Further headers, ``host`` among them.
            most: Bytes that a reply may have; a larger one ends the stream before it is here.
                None takes any.

        Raises:
            BadRequest: When a header or the path has what HTTP does not allow.
        """
        self.opened = False
        self.over = False
        self.error: DcfError | None = None
        self._most = most
        self._parts: list[bytes] = []
        self._kind = Opcode.BINARY
        self._has_ended = False
        self._pong = b""
        path, _, query = target.partition("?")
        self._socket = ClientProtocol(
            WebSocketURI(secure=False, host="localhost", port=80, path=path, query=query),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=most,
        )
        asked = self._socket.connect().headers.raw_items()
        own = [(name, value) for name, value in asked if name.lower() != "host"]
        # Written as for a call: what a header may have is the same.
        self._hello = Exchange().head("GET", target, (*headers, *own))

    @property
    def closed(self) -> bool:
        """Whether the other side has closed, so that the connection can be given up."""
        return self._socket.close_rcvd is not None or self._socket.state is State.CLOSED

    def outgoing(self, *, is_read: bool = True) -> bytes:
        """Return the bytes to send now.

        Args:
            is_read: Whether the other side reads. If it does not, answers to its pings would pile
                up. Only the newest answer is kept then; it replaces all earlier ones (RFC 6455,
                5.5.3).
        """
        hello, self._hello = self._hello, b""
        frames = self._socket.data_to_send()
        if not is_read:
            pongs = [frame for frame in frames if frame[:1] == _PONG]
            frames = [frame for frame in frames if frame[:1] != _PONG]
            self._pong = pongs[-1] if pongs else self._pong
        elif self._pong:
            if self._socket.state is State.OPEN:
                frames.insert(0, self._pong)
            self._pong = b""
        return b"".join((hello, *frames))

    def put(self, messages: Iterable[Message]) -> bool:
        """Sends messages.

        Returns:
            Whether somebody takes them; once the stream is over, nobody does.
        """
        if self.over or self._has_ended or self._socket.state is not State.OPEN:
            return False
        for message in messages:
            if isinstance(message, bytes):
                self._socket.send_binary(message)
            elif message.startswith(CONTROL):
                self._socket.send_binary(message.encode())
            else:
                self._socket.send_text(message.encode())
        return True

    def end(self) -> None:
        """Says that no further messages are sent."""
        if not self.over and not self._has_ended and self._socket.state is State.OPEN:
            self._has_ended = True
            self._socket.send_text(END.encode())

    def live(self) -> None:
        """Gives a sign of life: a pong that nobody asked for (RFC 6455, 5.5.3)."""
        if self._socket.state is State.OPEN:
            self._socket.send_pong(b"")

    def leave(self) -> None:
        """Says that the stream is given up, or that nothing is missing."""
        if self._socket.state is State.OPEN:
            is_done = self.over and self.error is None
            self._socket.send_close(CloseCode.DONE if is_done else CloseCode.GOING_AWAY)
        self.over = True

    def feed(self, data: bytes) -> list[Item]:
        """Takes what came; nothing means that the other side has closed the connection.

        Returns:
            The replies that are whole now.

        Raises:
            DcfError: Why there is no stream, as the other side told before it began.
            ReplicaLost: When the connection was closed before it began.
            AnswerInvalid: When what answers speaks something else.
        """
        if data:
            self._socket.receive_data(data)
        else:
            self._socket.receive_eof()
        items: list[Item] = []
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                self._take(event, items)
            elif isinstance(event, Response):
                self._begin(event)
        if not self.opened:
            self._check_handshake()
        elif not self.over and self._socket.parser_exc is not None:
            self._end(self._broken(self._socket.parser_exc))
        return items

    def _check_handshake(self) -> None:
        """What came is no answer of HTTP: versions of the library tell it in two ways."""
        wrong = self._socket.handshake_exc
        reason = wrong.__cause__ or wrong if wrong is not None else None
        if isinstance(reason, EOFError):
            raise ReplicaLost("the connection was closed before the stream began")
        if reason is not None:
            raise AnswerInvalid(f"the answer is no HTTP: {reason}")

    def _begin(self, response: Response) -> None:
        refusal = self._socket.handshake_exc
        if response.status_code >= 400:  # noqa: PLR2004  errors begin there
            raise from_problem(response.status_code, bytes(response.body or b""))
        if refusal is not None or self._socket.subprotocol is None:
            raise AnswerInvalid(
                f"what answers takes no streams ({SUBPROTOCOL} on a WebSocket):"
                f" {refusal or f'HTTP {response.status_code}'}"
            )
        self.opened = True

    def _take(self, frame: Frame, items: list[Item]) -> None:
        if self.over:
            return
        opcode = frame.opcode
        if opcode is Opcode.BINARY and frame.fin:
            items.append(bytes(frame.data))
        elif opcode is Opcode.TEXT and frame.fin:
            self._take_text(bytes(frame.data), items)
        elif opcode is Opcode.CLOSE:
            self._end(self._closed_early())
        elif opcode in _IN_PARTS:
            self._kind = self._kind if opcode is Opcode.CONT else opcode
            self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                if self._kind is Opcode.TEXT:
                    self._take_text(whole, items)
                else:
                    items.append(whole)

    def _take_text(self, data: bytes, items: list[Item]) -> None:
        if not data.startswith(_WORD):
            items.append(data)
            return
        try:
            word = read_control(data.decode())
        except (BadRequest, UnicodeDecodeError) as error:
            self._end(AnswerInvalid(f"the stream has a word that is none: {error}"))
            return
        if word is None:
            self._end(None)
        elif word.final:
            self._end(word.error)
        else:
            items.append(word)

    def _end(self, error: DcfError | None) -> None:
        self.over = True
        self.error = error

    def _closed_early(self) -> DcfError:
        close = self._socket.close_rcvd
        assert close is not None  # noqa: S101  its frame has come
        reason = close.reason or f"the stream was closed before its end, with code {close.code}"
        return error_of({"error": _CLOSED_BY.get(close.code, "ReplicaLost"), "detail": reason})

    def _broken(self, error: Exception) -> DcfError:
        if isinstance(error, PayloadTooBig) and self._most is not None:
            return BodyTooLarge(self._most)
        if isinstance(error, EOFError):
            return ReplicaLost("the connection was closed during the stream")
        return AnswerInvalid(f"what answers breaks the rules of a WebSocket: {error}")
