"""The request that a handler receives."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any
from urllib.parse import parse_qs

from dcf.errors import BadRequest
from dcf.function.messages import Messages
from dcf.protocol import http

_ATTEMPT = http.ATTEMPT.encode()


@dataclass(frozen=True, slots=True)
class Info:
    """The called function. ``str(info)`` is its name.

    Attributes:
        function: The function's name.
        request_id: The call's id, as in the ``X-Request-Id`` header of the reply.
    """

    function: str
    request_id: str = ""

    def __str__(self) -> str:
        return self.function


class Headers(Mapping[str, str]):
    """The request's headers. Names are lower-case; lookups ignore case.

    The values of a repeated header are joined by ``", "`` (RFC 9110, 5.3).
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        values: dict[str, str] = {}
        for raw_name, raw_value in pairs:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            values[name] = f"{values[name]}, {value}" if name in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


class Request:
    """One call of a function.

    A test of a handler needs only this class::

        assert Handler()(Request(b"Hello")) == b"Hello"

    One call of a generator handler is a whole stream::

        assert list(Handler()(Request(stream=[b"a", b"b"]))) == [b"A", b"B"]

    Attributes:
        input: The body; for a stream, the first message.
        method: The HTTP method, such as ``POST``.
        path: The rest of the URL's path after the function, at least ``/``.
    """

    __slots__ = ("_cancelled", "_ends", "_function", "_headers", "_query", "_raw_headers",
                 "_request_id", "_stream", "_until", "_whole", "input", "method",
                 "path")  # fmt: skip

    def __init__(
        self,
        input: bytes = b"",  # noqa: A002  the handler contract's own word
        *,
        method: str = "POST",
        path: str = "/",
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        function: str = "function",
        request_id: bytes = b"",
        ends: float = math.inf,
        until: float = math.inf,
        stream: Iterable[bytes] | None = None,
    ) -> None:
        """Create a request, in the watcher or in a test.

        Nothing is decoded here, because most handlers use only the body.

        Args:
            input: The body.
            method: The HTTP method.
            path: The path after the function.
            query: The query string, without ``?``.
            headers: Name and value of each header.
            function: The function's name.
            request_id: The call's id.
            ends: When the caller stops waiting, in seconds of ``time.monotonic()``.
            until: When the caller stops waiting for a whole stream, if it set a deadline.
            stream: The messages of a stream; the first of them becomes ``input``.
        """
        self.input = input
        self.method = method
        self.path = path
        self._query = query
        self._raw_headers = headers
        self._function = function
        self._request_id = request_id
        self._ends = ends
        self._until = until
        self._headers: Headers | None = None
        self._cancelled = False
        self._stream: Messages | None = None
        self._whole: Request | None = None
        if stream is not None:
            rest = iter(stream)
            first = [*islice(rest, 1)]
            self.input = b"".join(first)
            self._stream = Messages(chain(first, rest))

    @property
    def stream(self) -> Messages:
        """The messages as they arrive, each as bytes, including the first.

        For a generator handler, which runs once for a whole stream: ``for message in req.stream``,
        or ``async for`` in an async one. Each message is yielded once. A call that is not a stream
        has one message, its body.
        """
        if self._stream is None:
            self._stream = Messages((self.input,))
        return self._stream

    @property
    def request_id(self) -> str:
        """The call's id, as in the ``X-Request-Id`` header."""
        return self._request_id.decode("latin-1")

    @property
    def info(self) -> Info:
        """The function's name and the call's id."""
        return Info(self._function, self.request_id)

    @property
    def text(self) -> str:
        """The body as text in UTF-8.

        Raises:
            BadRequest: If it is not. The caller gets a 400.
        """
        try:
            return self.input.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(f"the body is not valid UTF-8: {error}") from error

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            BadRequest: If it is not. The caller gets a 400.
        """
        try:
            return json.loads(self.input)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from error

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        if self._headers is None:
            # The attempt number is only for the watcher.
            self._headers = Headers(pair for pair in self._raw_headers if pair[0] != _ATTEMPT)
        return self._headers

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters. The last value of a repeated name wins."""
        parsed = parse_qs(self._query.decode("latin-1"), keep_blank_values=True)
        return {name: values[-1] for name, values in parsed.items()}

    @property
    def content_type(self) -> str:
        """The body's media type without parameters, in lower case; "" if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        ends = self._ends if self._whole is None else self._whole._ends  # noqa: SLF001  its own kind
        return max(0.0, ends - time.monotonic())

    @property
    def remaining_in_all(self) -> float:
        """Seconds until the caller's deadline of a whole stream; infinite without a deadline.

        :attr:`remaining` is only for the next reply.
        """
        until = self._until if self._whole is None else self._whole._until  # noqa: SLF001  its own kind
        return max(0.0, until - time.monotonic())

    @property
    def deadline(self) -> float:
        """When the caller stops waiting, in seconds since the epoch as in ``time.time()``."""
        return time.time() + self.remaining

    @property
    def cancelled(self) -> bool:
        """Whether the caller no longer waits: it disconnected, or the deadline has passed.

        A long computation should check this between its steps.
        """
        return self._cancelled or (self._whole is not None and self._whole.cancelled)

    def cancel(self) -> None:
        """Mark the request as cancelled. The watcher calls this, and a test may."""
        self._cancelled = True

    def attach(self, stream: Messages) -> None:
        """Set the source of the messages. The watcher calls this."""
        self._stream = stream

    def renew(self, ends: float) -> None:
        """Move the deadline, because a message arrived or was sent. The watcher calls this.

        Args:
            ends: The new deadline, in seconds of ``time.monotonic()``.
        """
        self._ends = ends

    def about(self, message: bytes) -> Request:
        """Return a request with one message of the stream as its whole input."""
        part = Request(
            message,
            method=self.method,
            path=self.path,
            query=self._query,
            headers=self._raw_headers,
            function=self._function,
            request_id=self._request_id,
        )
        part._headers = self._headers
        part._whole = self
        return part

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} of {self._function}, {len(self.input)} bytes>"


CURRENT: ContextVar[Request | None] = ContextVar("CURRENT", default=None)
"""The current call. The watcher sets it; ``dcf.call`` reads it."""
