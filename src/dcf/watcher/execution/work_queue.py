"""A queue from a loop to its worker threads, with one wake-up for many items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WorkQueue(Generic[Item]):
    """Items that one thread gives and other threads take, in order.

    Idle threads wait at a pipe. Python's ``queue`` uses a lock, which its owner releases while it
    holds the interpreter: the waking thread must then wait for the interpreter as well, and on a
    busy machine each item costs four thread switches. A write to a pipe releases the interpreter
    first (figures: docs/decisions/0018-direct-calls.md).
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._idle: deque[None] = deque()
        """One entry for each thread that waits or is about to wait. The thread that removes an
        entry must write a byte to the pipe, which the waiting thread reads."""
        self._waits, self._wakes = os.pipe()

    def give(self, items: Iterable[Item]) -> None:
        """Append items, and wake as many threads as there are items for."""
        self._items.extend(items)
        woken = 0
        while woken < len(self._items) and _taken_from(self._idle):
            woken += 1
        if woken:
            os.write(self._wakes, bytes(woken))

    def take(self) -> Item:
        """Remove and return the next item. Wait for it if the queue is empty."""
        items, idle = self._items, self._idle
        while True:
            try:
                return items.popleft()
            except IndexError:
                idle.append(None)
            # An item that came before this thread was registered as idle woke no thread.
            if not items or not _taken_from(idle):
                os.read(self._waits, 1)

    def reclaim(self, most: int, wanted: Callable[[Item], bool]) -> list[Item]:
        """Take back items that no thread has taken, newest first.

        Args:
            most: Maximum number of items.
            wanted: Returns whether an item can be taken back. Other items stay, in their order.
        """
        reclaimed: list[Item] = []
        kept = deque[Item]()
        while len(reclaimed) < most:
            try:
                item = self._items.pop()
            except IndexError:
                break
            if wanted(item):
                reclaimed.append(item)
            else:
                kept.appendleft(item)
        if kept:
            self.give(kept)
        return reclaimed

    def __len__(self) -> int:
        """Return the number of items that no thread has taken."""
        return len(self._items)

    def close(self) -> None:
        """Close the pipe. No thread may take items after this."""
        os.close(self._waits)
        os.close(self._wakes)


def _taken_from(idle: deque[None]) -> bool:
    try:
        idle.pop()
    except IndexError:
        return False
    return True
