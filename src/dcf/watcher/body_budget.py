"""Limits the bytes of request bodies that a replica holds in memory before their handlers begin.

A body that does not fit waits at its client: the watcher stops reading from that connection. The
limit cannot block all progress: if no complete body waits for the handler, the oldest body that is
being read may exceed the limit, up to ``max_body``.
"""

from __future__ import annotations

import asyncio

from dcf.watcher.call import BodyProgress, Call


class BodyBudget:
    """The bytes of all bodies that arrive or wait. All methods run on the server's loop."""

    def __init__(self, limit: int) -> None:
        """Create an empty budget.

        Args:
            limit: Maximum number of bytes.
        """
        self._limit = limit
        self._total = 0
        self._complete = 0
        self._readers: dict[Call, None] = {}
        """Calls whose bodies are being read, oldest first."""
        self._changed = asyncio.Event()

    def begin(self, call: Call) -> None:
        """Count the body of ``call``, which is about to be read."""
        if call.body is None:
            call.body = BodyProgress()
        self._readers[call] = None

    async def room(self, call: Call) -> None:
        """Wait until more of the body of ``call`` can be read.

        This wait does not count against the client's minimum body rate.
        """
        if self.has_room(call):
            return
        body = _body_of(call)
        loop = asyncio.get_running_loop()
        since = loop.time()
        body.is_reading = False
        try:
            while not self.has_room(call):
                self._changed.clear()
                await self._changed.wait()
        finally:
            body.is_reading = True
            body.slack += loop.time() - since

    def add(self, call: Call, size: int) -> None:
        """Count ``size`` more bytes of the body of ``call``."""
        _body_of(call).received += size
        self._total += size

    def complete(self, call: Call) -> None:
        """Note that the body of ``call`` has arrived completely and waits for the handler."""
        self._readers.pop(call, None)
        body = _body_of(call)
        self._complete += body.received
        body.is_complete = True
        self._changed.set()

    def release(self, call: Call) -> None:
        """Stop counting the body of ``call``: its handler has begun, or the call is over."""
        body = _body_of(call)
        self._readers.pop(call, None)
        self._total -= body.received
        if body.is_complete:
            self._complete -= body.received
        body.received, body.is_complete = 0, False
        self._changed.set()

    def has_room(self, call: Call) -> bool:
        """Return whether more of the body of ``call`` can be read now."""
        if self._total < self._limit:
            return True
        return not self._complete and next(iter(self._readers)) is call


def _body_of(call: Call) -> BodyProgress:
    assert call.body is not None  # noqa: S101  `begin` was called
    return call.body
