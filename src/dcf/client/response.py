"""Replies whose bodies are read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from dcf.client.sync_network import iterate, run
from dcf.errors import AnswerInvalid

MAX_LINE = 16 * 1024 * 1024
"""Maximum bytes of a line in a reply of lines. A line of a log has up to 16 KiB, the report of a
failed build up to 60 lines of 64 KiB."""


def _nothing_open() -> None:
    """Close a response that holds no connection."""


@dataclass(slots=True)
class Response:
    """A reply whose body may still be on its way; a context manager that closes it.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        chunks: The parts of the body, as they arrive. Reading them may raise ReplicaLost or
            DeadlineExceeded.
        close: Ends the reply without reading the rest.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    close: Callable[[], None] = _nothing_open

    @classmethod
    def blocking(cls, response: AsyncResponse) -> Self:
        """Make a response from one that arrives over a network that blocks."""
        chunks, close = iterate(response.chunks), response.close
        return cls(response.status, response.headers, chunks, lambda: run(close()))

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(slots=True)
class AsyncResponse:
    """Like :class:`Response`, for ``async for`` and ``async with``.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        chunks: The parts of the body, as they arrive. Reading them may raise ReplicaLost or
            DeadlineExceeded.
        close: Ends the reply without reading the rest.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self.chunks])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body, without line feeds. Empty lines are left out.

    Raises:
        AnswerInvalid: When a line is longer than :data:`MAX_LINE`.
    """
    line = bytearray()
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            _append(line, end)
            if line:
                yield bytes(line)
                line.clear()
        _append(line, rest)


def _append(line: bytearray, data: bytes) -> None:
    if len(line) + len(data) > MAX_LINE:
        raise AnswerInvalid(f"expected lines of at most {MAX_LINE} bytes, got a longer one")
    line += data
