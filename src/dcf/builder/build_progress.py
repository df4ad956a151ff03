"""Reports a build's progress. The listener decides how to show it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Listener(Protocol):
    """Receives a build's progress, on the thread that builds."""

    def started(self, step: str, detail: str) -> None:
        """Handle the start of a step; ``detail`` is for people: "installing 14 packages"."""

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Handle the end of the step that started last."""

    def notice(self, text: str) -> None:
        """Handle a message for the author that does not stop the build."""

    def output(self, line: str) -> None:
        """Handle a line of a tool's output, without secrets and without its line end."""


class Silent:
    """Ignores all progress."""

    def started(self, step: str, detail: str) -> None:
        """Do nothing."""

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Do nothing."""

    def notice(self, text: str) -> None:
        """Do nothing."""

    def output(self, line: str) -> None:
        """Do nothing."""


SILENT = Silent()


class Noted:
    """Forwards progress to a listener, and collects the notices for the build's result."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.notices: list[str] = []

    def started(self, step: str, detail: str) -> None:
        """Forward it."""
        self._listener.started(step, detail)

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Forward it."""
        self._listener.finished(step, detail, seconds)

    def notice(self, text: str) -> None:
        """Forward and collect it."""
        self.notices.append(text)
        self._listener.notice(text)

    def output(self, line: str) -> None:
        """Forward it."""
        self._listener.output(line)


class Held(Silent):
    """Buffers a tool's output, for a run whose failure the author need not see."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def output(self, line: str) -> None:
        """Buffer it."""
        self._lines.append(line)

    def release(self, listener: Listener) -> None:
        """Forward the buffered lines."""
        for line in self._lines:
            listener.output(line)


@contextmanager
def step(listener: Listener, name: str, detail: str) -> Iterator[None]:
    """Report a step and how long it took. A step that fails is not reported as finished."""
    listener.started(name, detail)
    begin = time.monotonic()
    yield
    listener.finished(name, detail, time.monotonic() - begin)


def size_text(size: int) -> str:
    """Format bytes for people: ``17.3 MiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":  # noqa: PLR2004  the step between binary units
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def count_text(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 file``, ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
