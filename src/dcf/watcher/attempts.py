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
            loop: The server's.
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
            concurrency: Calls that the handler takes at a time.
            loop: The server's.
        """
        if not settings.call_table:
            return None
        path = Path(settings.call_table)
        table = None
        try:
            table = CallTable.create(path, concurrency + settings.queue + SPARE)
        except OSError as error:
            logger.warning("calls are marked one by one, %s cannot be used: %s", path, error)
        return cls(table, path.parent, settings.replay, loop)

    def earlier(self, request_id: bytes) -> EarlierAttempt | None:
        """Return what other replicas recorded about a call that the gateway retries."""
        return call_table.find(self._folder, request_id)

    def enter(self, call: Call) -> None:
        """Enter a call that joins the queue."""
        size = len(call.request.input)
        whole = not call.unread
        call.movable = whole and size <= self._replay
        if self._table is not None and call.given_id:
            entry = self._table.enter(call.given_id, call.arrived, call.ends)
            if entry is not None:
                call.table, call.entry = self._table, entry
        if call.interim is not None and (call.entry < 0 or not whole or size >= self._replay):
            call.announce = lambda: self._announce(call)

    def leave(self, call: Call) -> None:
        """Release the entry of a call that is over or was handed back."""
        if self._table is None or call.entry < 0:
            return
        entry, call.entry = call.entry, -1
        if call.moved_on:
            self._loop.call_later(REMEMBERED, self._table.release, entry)
        else:
            self._table.release(entry)

    def _announce(self, call: Call) -> bool:
        """Tell the gateway that the handler begins, from the handler's thread."""
        told = threading.Event()

        def tell() -> None:
            if not call.request.cancelled and call.interim is not None:
                call.interim()
                told.set()

        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the server has ended
            return False
        while not told.wait(0.05):
            if call.request.cancelled:
                return False
        return True
