"""A queue from any thread to a loop, with one wake-up for many items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LoopQueue(Generic[Item]):
    """Items that any thread posts and one loop handles, in order.

    A wake-up costs a system call. Under load, most items need none, because the wake-up for an
    earlier item has not been handled yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Callable[[Item], None]) -> None:
        self._loop = loop
        self._handle = handle
        self._items: deque[Item] = deque()
        self._woken = False

    def post(self, item: Item) -> None:
        """Pass ``item`` to the loop. Drop it if the loop has ended."""
        self._items.append(item)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                self._items.clear()

    def take_back(self) -> list[Item]:
        """Take back the items that the loop has not handled, in order. From any thread."""
        items = []
        while self._items:
            try:
                items.append(self._items.popleft())
            except IndexError:  # the loop was faster
                break
        return items

    def _flush(self) -> None:
        # Clear the flag before reading the items: an item posted after this wakes the loop again.
        self._woken = False
        while self._items:
            try:
                item = self._items.popleft()
            except IndexError:  # taken back in between
                break
            self._handle(item)
