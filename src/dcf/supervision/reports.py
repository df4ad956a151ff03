"""Splits the reports of one run into lines, and limits their memory and rate."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from dcf.supervision.line_splitter import LineSplitter

LINE_LIMIT = 256 * 1024
"""Maximum bytes of a line; the longest carry a traceback. A longer line comes in pieces."""

FIRST_KEPT = LATEST_KEPT = 4
"""Number of lines that a status keeps from the start of a run, and from its end. A watcher writes
five; a flood afterwards does not evict the first ones."""

RATE = 1000
"""Maximum lines passed on in a second. Each costs the supervisor some 30 microseconds, so a flood
takes 3 % of a core."""


class Reports:
    """The reports of one run."""

    def __init__(
        self, notify: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create the empty reports of a run.

        Args:
            notify: Called with each line.
            clock: Monotonic seconds.
        """
        self._notify = notify
        self._clock = clock
        self._splitter = LineSplitter(LINE_LIMIT)
        self._first: list[str] = []
        self._latest: deque[str] = deque(maxlen=LATEST_KEPT)
        self._window = 0.0
        self._count = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The first and the latest lines, oldest first."""
        return (*self._first, *self._latest)

    def feed(self, data: bytes) -> float:
        """Accept data that the run wrote. Lines over the rate are dropped.

        Returns:
            Seconds for which the caller should not read from the run; the pipe makes the run wait.
        """
        now = self._clock()
        if now - self._window >= 1:
            self._window, self._count = now, 0
        for line in self._splitter.feed(data):
            if self._count >= RATE:
                return self._window + 1 - now
            self._add(line)
        return 0.0

    def end(self) -> None:
        """Accept a last line that has no line end."""
        if rest := self._splitter.rest():
            self._add(rest)

    def _add(self, line: bytes) -> None:
        self._count += 1
        text = line.decode(errors="replace")
        if len(self._first) < FIRST_KEPT:
            self._first.append(text)
        else:
            self._latest.append(text)
        self._notify(text)
