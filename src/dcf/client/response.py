"""Replies whose bodies are still to be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self


def _nothing() -> None:
    """Closes what holds nothing."""


@dataclass(slots=True)
class Response:
    """A reply whose body is still to be read; a context manager, which closes it.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        chunks: The body, as it comes. Reading it may raise ReplicaLost or DeadlineExceeded.
        close: Gives up what has not been read.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    close: Callable[[], None] = _nothing

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(slots=True)
class AsyncResponse:
    """An :class:`Response` whose chunks are awaited; an async context manager.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        chunks: The body, as it comes. Reading it may raise ReplicaLost or DeadlineExceeded.
        close: Gives up what has not been read.
    """

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()


def lines_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a body, without their ends; empty ones are left out."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)


async def async_lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As :func:`lines_of`."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in filter(None, whole):
            yield line
