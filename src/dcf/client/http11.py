"""HTTP/1.1 on one connection, without I/O: bytes in and out (h11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h11

from dcf.errors import AnswerInvalid, BadRequest

CHUNK = 256 * 1024
"""Bytes that are read or written at a time."""
MAX_HEAD = 256 * 1024
"""Maximum bytes of a reply's status line and headers. A gateway never sends that many."""

Event = h11.Response | h11.Data | h11.EndOfMessage


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers of a reply.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
    """

    status: int
    headers: Mapping[str, str]


class Http11Protocol:
    """The requests and replies of one connection, one after the other.

    Attributes:
        begun: Whether a byte of the current reply has arrived.
    """

    def __init__(self) -> None:
        self.begun = False
        self._h11 = h11.Connection(h11.CLIENT, MAX_HEAD)
        self._is_closed = False

    def head(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
        """Return the bytes of a request's first line and headers.

        Raises:
            BadRequest: When a header or the path contains characters that HTTP does not allow.
        """
        try:
            encoded = [(name.encode(), value.encode()) for name, value in headers]
            request = h11.Request(method=method.encode(), target=target.encode(), headers=encoded)
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise _invalid(error) from error
        return self._send(request)

    def data(self, chunk: bytes | memoryview) -> bytes:
        """Return the bytes of a part of the request's body.

        Raises:
            BadRequest: When the body is longer than its ``Content-Length``.
        """
        return self._send(h11.Data(data=chunk))  # type: ignore[arg-type]  # any buffer will do

    def end(self) -> bytes:
        """Return the bytes that end the request.

        Raises:
            BadRequest: When the body is shorter than its ``Content-Length``.
        """
        return self._send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        """Parse received bytes; b"" means that the other side has closed the connection.

        Raises:
            ConnectionResetError: When it closed the connection before the reply began.
        """
        if data:
            self.begun = True
        else:
            self._is_closed = True
            if self._h11.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("the connection was closed without a reply")
        self._h11.receive_data(data)

    def event(self) -> Event | None:
        """Return the next part of the reply; None when more bytes are needed.

        Raises:
            AnswerInvalid: When the bytes are not HTTP.
            ConnectionResetError: When the reply is incomplete.
        """
        try:
            event = self._h11.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            if self._is_closed:
                raise ConnectionResetError("the reply is incomplete") from error
            raise AnswerInvalid(f"expected HTTP, got another protocol: {error}") from error
        return event if isinstance(event, Event) else None

    def reset(self) -> bool:
        """Prepare for the next request.

        Returns:
            Whether that is possible: both request and reply must be complete.
        """
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self.begun = False
        return True

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._h11.send(event) or b""
        except h11.LocalProtocolError as error:
            raise _invalid(error) from error


def head_of(response: h11.Response) -> Head:
    """Return the status and headers. Values of a repeated header are joined by ``", "``."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(response.status_code, headers)


def _invalid(error: Exception) -> BadRequest:
    return BadRequest(f"this request is not valid HTTP: {error}")
