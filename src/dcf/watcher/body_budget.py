"""How many bytes of bodies a replica holds in memory before their handlers begin.

A body that does not fit waits at its client: nothing is read from that connection meanwhile. The
limit never stops everything: when no complete body waits for the handler, the oldest body that is
being read can exceed it, up to the largest body that is allowed at all.
"""

from __future__ import annotations

import asyncio

from dcf.watcher.call import Call


class BodyBudget:
    """The bytes of all bodies that arrive or wait. On the server's loop."""

    def __init__(self, limit: int) -> None:
        """Hold nothing yet.

        Args:
            limit: Bytes.
        """
        self._limit = limit
        self._total = 0
        self._complete = 0
        self._readers: dict[Call, None] = {}
        """Calls whose bodies are being read, oldest first."""
        self._changed = asyncio.Event()

    def begin(self, call: Call) -> None:
        """Count the body of ``call``, which is about to be read."""
        self._readers[call] = None

    async def room(self, call: Call) -> None:
        """Wait until more of the body of ``call`` can be read.

        The time counts as the watcher's own, not as the client's.
        """
        if self._has_room(call):
            return
        loop = asyncio.get_running_loop()
        since = loop.time()
        call.reads = False
        try:
            while not self._has_room(call):
                self._changed.clear()
                await self._changed.wait()
        finally:
            call.reads = True
            call.slack += loop.time() - since

    def add(self, call: Call, size: int) -> None:
        """Count ``size`` more bytes of the body of ``call``."""
        call.received += size
        self._total += size

    def complete(self, call: Call) -> None:
        """Note that the whole body of ``call`` is there: it waits for the handler now."""
        self._readers.pop(call, None)
        self._complete += call.received
        call.counted = True
        self._changed.set()

    def release(self, call: Call) -> None:
        """Count the body of ``call`` no more: its handler has begun, or the call is over."""
        self._readers.pop(call, None)
        self._total -= call.received
        if call.counted:
            self._complete -= call.received
        call.received, call.counted = 0, False
        self._changed.set()

    def _has_room(self, call: Call) -> bool:
        if self._total < self._limit:
            return True
        return not self._complete and next(iter(self._readers)) is call
