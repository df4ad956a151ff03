"""Limits how many builds of one process run at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dcf.builder.build_progress import Listener
from dcf.builder.uv import BuildStop

POLL = 0.2
"""Seconds between two checks whether a waiting build was cancelled."""


class Slots:
    """Limits the builds that run at a time. Further builds queue in the order of their arrival.

    Args:
        count: Builds at a time; 0 sets no limit.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, listener: Listener, stop: BuildStop) -> Iterator[None]:
        """Hold a slot during the block.

        Args:
            listener: Receives the position in the queue whenever it changes.
            stop: Cancels the wait.

        Raises:
            BuildError: If the build was cancelled while it waited.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            self._wait(ticket, listener, stop)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, listener: Listener, stop: BuildStop) -> None:
        reported = 0
        while True:
            with self._changed:
                # The running builds are at the head of the queue.
                position = self._queue.index(ticket) + 1 - self._count
                if position <= 0 or not self._count:
                    return
                if position == reported:
                    self._changed.wait(POLL)
            stop.check()
            if position != reported:
                reported = position
                listener.notice(
                    f"Waiting for other builds: position {position} in the queue"
                    f" ({self._count} at a time)"
                )
