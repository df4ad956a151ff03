"""From a loop to the threads that do its work, with one wake-up for many items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WorkQueue(Generic[Item]):
    """Items given by one thread and taken by others, in the order they came.

    Threads that have nothing to do wait at a pipe. A lock, as a ``queue`` has it, is released while
    the interpreter is held: the thread that wakes must wait for that as well, and on a busy machine
    each item costs four changes of thread. A write to a pipe lets go of the interpreter first
    (figures: docs/decisions/0018-direct-calls.md).
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._idle: deque[None] = deque()
        """One for each thread that waits, or is about to. Whoever takes one out owes the pipe a
        byte, and it is read."""
        self._waits, self._wakes = os.pipe()

    def give(self, items: Iterable[Item]) -> None:
        """Puts items behind those that wait; wakes as many threads as there is work for."""
        self._items.extend(items)
        woken = 0
        while woken < len(self._items) and _taken_from(self._idle):
            woken += 1
        if woken:
            os.write(self._wakes, bytes(woken))

    def take(self) -> Item:
        """The next item; waits for it."""
        items, idle = self._items, self._idle
        while True:
            try:
                return items.popleft()
            except IndexError:
                idle.append(None)
            # One that was given in between may have met nobody who waited.
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
        """Closes the pipe. Nobody takes any more."""
        os.close(self._waits)
        os.close(self._wakes)


def _taken_from(idle: deque[None]) -> bool:
    try:
        idle.pop()
    except IndexError:
        return False
    return True
