"""Reads the pipes of a process on the event loop, to the last byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

READ_SIZE = 64 * 1024
"""Bytes read from a pipe at a time: the capacity of a pipe on Linux."""

LAST_READS = 16
"""Maximum reads from a pipe after its process has ended: another process may keep writing to it."""


class Pipes:
    """Reads descriptors and passes the data on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._feeds: dict[int, Callable[[bytes], float | None]] = {}
        self._paused: dict[int, asyncio.TimerHandle] = {}

    def add(self, descriptor: int, feed: Callable[[bytes], float | None]) -> None:
        """Read a descriptor from now on; :meth:`close` closes it.

        Args:
            descriptor: The reading end of a pipe.
            feed: Called with the data; may return seconds for which reading must pause.
        """
        os.set_blocking(descriptor, False)
        self._feeds[descriptor] = feed
        self._loop.add_reader(descriptor, partial(self._read, descriptor))

    def close(self) -> None:
        """Read the rest of the data in the pipes of a process that has ended, and close them."""
        for descriptor in self._feeds:
            for _ in range(LAST_READS):
                if not self._read(descriptor):
                    break
            self._cancel_pause(descriptor)
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._feeds.clear()

    def _read(self, descriptor: int) -> bool:
        """Read once; return whether there may be more data."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        if data:
            if pause := self._feeds[descriptor](data):
                self._loop.remove_reader(descriptor)
                self._cancel_pause(descriptor)
                resume = partial(self._resume, descriptor)
                self._paused[descriptor] = self._loop.call_later(pause, resume)
            return not pause
        # The process has closed the pipe, but may still run.
        self._loop.remove_reader(descriptor)
        return False

    def _cancel_pause(self, descriptor: int) -> None:
        if (paused := self._paused.pop(descriptor, None)) is not None:
            paused.cancel()

    def _resume(self, descriptor: int) -> None:
        del self._paused[descriptor]
        self._loop.add_reader(descriptor, partial(self._read, descriptor))
