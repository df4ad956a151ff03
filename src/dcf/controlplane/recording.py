"""Writes events to the catalog, so that turns of the control loop do not depend on the disk."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from dcf.catalog.events import EventLog
from dcf.errors import StorageError
from dcf.model.event import Event

logger = logging.getLogger("dcf.controlplane")

WAITING = 1000
"""Maximum number of events that wait while the disk is full. An event has at most some 30 KB, most
are far smaller. Above this number, the oldest events are dropped and counted."""

PATIENCE = 0.5
"""Seconds that a turn waits for its events to be written. That is enough for any healthy disk, so
that an event is recorded before the state that it explains changes again."""


class Recorder:
    """Writes events in order, as soon as the disk accepts them."""

    def __init__(self, event_log: EventLog, waiting: int = WAITING) -> None:
        """Create a recorder without waiting events.

        Args:
            event_log: Stores events.
            waiting: Maximum number of events that wait.
        """
        self._event_log = event_log
        self._waiting: deque[Event] = deque(maxlen=waiting)
        self._dropped = 0
        self._failing = False
        self._writing: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether events wait."""
        return bool(self._waiting)

    async def record(self, events: Iterable[Event]) -> None:
        """Write events, after those that wait. Never raise, and never wait long."""
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
        """Wait for the write in progress."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        while self._waiting:
            event = self._waiting[0]
            try:
                await asyncio.to_thread(self._event_log.record, event)
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
