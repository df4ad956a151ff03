"""The reading ends of a process's pipes, read on the event loop to the last byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

READ_SIZE = 64 * 1024
"""Bytes read from a pipe at a time: all that one holds on Linux."""

LAST_READS = 16
"""Reads at most from the pipe of a process that has ended, should another keep writing to it."""


class Pipes:
    """Reads descriptors and passes on what comes."""

    def __init__(self) -> None:
        """Starts with none."""
        self._loop = asyncio.get_running_loop()
        self._feeds: dict[int, Callable[[bytes], float | None]] = {}
        self._paused: dict[int, asyncio.TimerHandle] = {}

    def add(self, descriptor: int, feed: Callable[[bytes], float | None]) -> None:
        """Reads ``descriptor`` from now on, and closes it in the end.

        Args:
            descriptor: The reading end of a pipe.
            feed: Called with the data; may return seconds for which reading must pause.
        """
        os.set_blocking(descriptor, False)
        self._feeds[descriptor] = feed
        self._loop.add_reader(descriptor, partial(self._read, descriptor))

    def close(self) -> None:
        """Reads what is left in the pipes of a process that has ended, and closes them."""
        for descriptor in self._feeds:
            for _ in range(LAST_READS):
                if not self._read(descriptor):
                    break
            self._cancel_pause(descriptor)
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._feeds.clear()

    def _read(self, descriptor: int) -> bool:
        """Reads once; returns whether more may be there."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        if data:
            if pause := self._feeds[descriptor](data):
                self._loop.remove_reader(descriptor)
                self._cancel_pause(descriptor)
                go_on = partial(self._go_on, descriptor)
                self._paused[descriptor] = self._loop.call_later(pause, go_on)
            return not pause
        # The process closed it; the process's own end may be yet to come.
        self._loop.remove_reader(descriptor)
        return False

    def _cancel_pause(self, descriptor: int) -> None:
        if (paused := self._paused.pop(descriptor, None)) is not None:
            paused.cancel()

    def _go_on(self, descriptor: int) -> None:
        del self._paused[descriptor]
        self._loop.add_reader(descriptor, partial(self._read, descriptor))
