"""Events on their way to the catalog. No turn depends on the disk that takes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from dcf.control.journal import Journal
from dcf.errors import StorageError
from dcf.model.event import Event

logger = logging.getLogger("dcf.gateway")

WAITING = 1000
"""Events that may wait for a disk that is full. Each is at most some 30 KB, most are far smaller;
beyond that the oldest are dropped, and counted."""

PATIENCE = 0.5
"""Seconds that a turn waits for its events to be written: enough for any disk that is well, so that
an event is there before what it explains has changed again."""


class Recorder:
    """Writes events, in their order, when the disk takes them."""

    def __init__(self, journal: Journal, waiting: int = WAITING) -> None:
        """Creates a recorder that has nothing to write.

        Args:
            journal: Where events are kept.
            waiting: Events that may wait.
        """
        self._journal = journal
        self._waiting: deque[Event] = deque(maxlen=waiting)
        self._dropped = 0
        self._failing = False
        self._writing: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether events wait."""
        return bool(self._waiting)

    async def record(self, events: Iterable[Event]) -> None:
        """Write events, and those that wait. Never raises, and never waits for long."""
        for event in events:
            if len(self._waiting) == self._waiting.maxlen:
                self._dropped += 1
            self._waiting.append(event)
        if self._waiting and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
            self._writing.add_done_callback(self._written)
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=PATIENCE)

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        while self._waiting:
            event = self._waiting[0]
            try:
                await asyncio.to_thread(self._journal.record, event)
            except StorageError as error:
                if not self._failing:
                    logger.warning("events are recorded later: %s", error)
                self._failing = True
                return
            except Exception:
                logger.exception("an event of %s cannot be recorded and is dropped", event.function)
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()
        if self._failing:
            logger.info("events are recorded again; %d were dropped meanwhile", self._dropped)
        self._failing, self._dropped = False, 0

    def _written(self, _writing: asyncio.Task[None]) -> None:
        self._writing = None
