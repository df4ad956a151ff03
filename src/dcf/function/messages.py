"""The messages of a stream, for a handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self


class Messages:
    """The value of ``req.stream``: an iterator of the messages, in order.

    A plain handler uses ``for``, an async one ``async for``. Each message is yielded once.
    """

    __slots__ = ("_left",)

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        """Create an iterator of given messages, for tests. The watcher has a subclass."""
        self._left = iter(messages)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._left)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._left)
        except StopIteration:
            raise StopAsyncIteration from None
