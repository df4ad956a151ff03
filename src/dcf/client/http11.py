"""HTTP/1.1 of one connection, without the connection (h11), and how long one waits for it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h11

from dcf.errors import AnswerInvalid, BadRequest, DeadlineExceeded

CHUNK = 256 * 1024
"""Bytes read or written at a time."""
MAX_HEAD = 256 * 1024
"""Bytes of a reply's status line and headers: more is no gateway."""

Event = h11.Response | h11.Data | h11.EndOfMessage


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a reply.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
    """

    status: int
    headers: Mapping[str, str]


class Timeout:
    """How long a reply is waited for."""

    def __init__(self, *, total: float = math.inf, silence: float = math.inf) -> None:
        """Begins to count.

        Args:
            total: Seconds until the whole reply must be there.
            silence: Seconds that may pass without a byte.
        """
        self._total = total
        self._silence = silence
        self._until = time.monotonic() + total

    def left(self) -> float | None:
        """Seconds that the next byte may take; None for as long as it likes.

        Raises:
            TimeoutError: When the time is up.
        """
        left = min(self._until - time.monotonic(), self._silence)
        if left <= 0:
            raise TimeoutError
        return None if math.isinf(left) else left

    def spent(self) -> DeadlineExceeded:
        """The error that the time is up."""
        if self._total <= self._silence:
            return DeadlineExceeded(f"no whole reply within {self._total:g} s")
        return DeadlineExceeded(f"nothing came for {self._silence:g} s")


class Http11Protocol:
    """The requests and replies of one connection, one after the other."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD)
        self._begun = False
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether a byte of the current reply is here."""
        return self._begun

    def head(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
        """The beginning of a request.

        Raises:
            BadRequest: When a header or the path has what HTTP does not allow.
        """
        try:
            given = [(name.encode(), value.encode()) for name, value in headers]
            request = h11.Request(method=method.encode(), target=target.encode(), headers=given)
            return self._http.send(request) or b""
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise BadRequest(f"this request cannot be sent: {error}") from error

    def data(self, chunk: bytes | memoryview) -> bytes:
        """A part of the request's body.

        Raises:
            BadRequest: When the body is longer than was said.
        """
        try:
            return self._http.send(h11.Data(data=chunk)) or b""  # type: ignore[arg-type]  # it takes any buffer
        except h11.LocalProtocolError as error:
            raise BadRequest(f"this request cannot be sent: {error}") from error

    def end(self) -> bytes:
        """The end of the request.

        Raises:
            BadRequest: When the body is shorter than was said.
        """
        try:
            return self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise BadRequest(f"this request cannot be sent: {error}") from error

    def feed(self, data: bytes) -> None:
        """Takes what came; nothing means that the other side has closed.

        Raises:
            ConnectionResetError: When it closed before the reply began.
        """
        if not data:
            self._ended = True
            if self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("the connection was closed without a reply")
        self._begun = self._begun or bool(data)
        self._http.receive_data(data)

    def event(self) -> Event | None:
        """What came next; None when more must be fed first.

        Raises:
            AnswerInvalid: When it is no HTTP.
            ConnectionResetError: When the reply broke off.
        """
        try:
            found = self._http.next_event()
            while isinstance(found, h11.InformationalResponse):
                found = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                raise ConnectionResetError("the reply broke off") from error
            raise AnswerInvalid(f"the answer is no HTTP: {error}") from error
        if isinstance(found, Event):
            return found
        return None

    def renew(self) -> bool:
        """Makes ready for another request, where request and reply were whole.

        Returns:
            Whether the connection can be used again.
        """
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._begun = False
        return True


def head_of(response: h11.Response) -> Head:
    """The status and headers; a header that came several times is joined by ``", "``."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(response.status_code, headers)
