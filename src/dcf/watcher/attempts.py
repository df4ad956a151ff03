"""Calls that a gateway can send to another replica when their handler has not begun.

A gateway retries a call if its connection broke or a watcher handed it back. The watcher marks each
call right before the handler begins, in one of two ways:

- in the replica's call table (:mod:`dcf.protocol.call_table`), which the next replica reads. This
  costs no system call.
- by an interim response (100 Continue), after which the gateway does not retry. This is for calls
  without an entry in the table, and for calls that the gateway cannot retry anyway: it then knows
  whether they had begun.

Figures and the alternatives: docs/decisions/0036-calls-move.md.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Self

from dcf.protocol import call_table
from dcf.protocol.call_table import CallTable, EarlierAttempt
from dcf.settings import WatcherSettings
from dcf.watcher.call import Call

SPARE = 256
"""Entries beyond the calls that run or wait. The entry of an ended call stays readable until this
many newer calls have come."""

REMEMBERED = 5.0
"""Seconds before the entry of a handed-back call is reused. The gateway sends the call to another
replica within that time."""

logger = logging.getLogger("dcf.watcher")


class Attempts:
    """Tells the gateway and other replicas which of this replica's calls have begun."""

    def __init__(
        self, table: CallTable | None, folder: Path, replay: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Use :meth:`of`.

        Args:
            table: This replica's table; None if it could not be created. Then every call is marked
                by an interim response.
            folder: Folder of the call tables of the function's replicas.
            replay: Largest body, in bytes, with which the gateway can retry a call.
            loop: The server's loop.
        """
        self._table = table
        self._folder = folder
        self._replay = replay
        self._loop = loop

    @classmethod
    def of(
        cls, settings: WatcherSettings, concurrency: int, loop: asyncio.AbstractEventLoop
    ) -> Self | None:
        """Create this for a replica behind a gateway; return None without a gateway.

        Args:
            settings: Path of the table.
            concurrency: Maximum number of calls in the handler.
            loop: The server's loop.
        """
        if not settings.call_table:
            return None
        path = Path(settings.call_table)
        table = None
        try:
            table = CallTable.create(path, concurrency + settings.queue + SPARE)
        except OSError as error:
            logger.warning(
                "cannot use %s, so each call is marked by an interim response: %s", path, error
            )
        return cls(table, path.parent, settings.replay, loop)

    def earlier(self, request_id: bytes) -> EarlierAttempt | None:
        """Return what other replicas recorded about a call that the gateway retries."""
        return call_table.find(self._folder, request_id)

    def enter(self, call: Call) -> None:
        """Record a call that joins the queue."""
        size, replay, is_whole = len(call.request.input), self._replay, not call.is_unread
        call.is_movable = is_whole and size <= replay
        table, given_id = self._table, call.given_id
        if table is not None and given_id:
            clock = call.clock
            entry = table.enter(given_id, clock.arrived, clock.ends)
            if entry is not None:
                call.table, call.entry = table, entry
        if (call.entry < 0 or not is_whole or size >= replay) and call.recipient.can_announce:
            call.announce = lambda: self._announce(call)

    def leave(self, call: Call) -> None:
        """Release the entry of a call that is over or was handed back."""
        table, entry = self._table, call.entry
        if table is None or entry < 0:
            return
        call.entry = -1
        if call.has_moved:
            self._loop.call_later(REMEMBERED, table.release, entry)
        else:
            table.release(entry)

    def _announce(self, call: Call) -> bool:
        """Tell the gateway that the handler begins. Call this in the handler's thread."""
        is_announced = threading.Event()

        def announce() -> None:
            if not call.request.cancelled:
                call.recipient.announce()
                is_announced.set()

        try:
            self._loop.call_soon_threadsafe(announce)
        except RuntimeError:  # the server has ended
            return False
        while not is_announced.wait(0.05):
            if call.request.cancelled:
                return False
        return True
