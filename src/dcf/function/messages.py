"""The messages of a stream, as a handler reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self


class Messages:
    """What ``req.stream`` is: every message once, in the order in which they came.

    A plain handler goes through it with ``for``, an async one with ``async for``.
    """

    __slots__ = ("_left",)

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        """Messages that are there already, as in a test; the watcher has a kind of its own."""
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
