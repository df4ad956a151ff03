"""What a build tells while it works. Whoever listens decides how that is shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Listener(Protocol):
    """Hears of a build's progress, on the thread that builds."""

    def started(self, step: str, detail: str) -> None:
        """A step begins; ``detail`` is for people: "installing 14 packages"."""

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """The step that began last is done."""

    def notice(self, text: str) -> None:
        """Something that the author should know and that stops nothing."""

    def output(self, line: str) -> None:
        """One line of a tool at work, without secrets and without its line end."""


class Silent:
    """Listens to nothing."""

    def started(self, step: str, detail: str) -> None:
        """Does nothing."""

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Does nothing."""

    def notice(self, text: str) -> None:
        """Does nothing."""

    def output(self, line: str) -> None:
        """Does nothing."""


SILENT = Silent()


class Noted:
    """Passes all on, and keeps the notices for the build's result."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.notices: list[str] = []

    def started(self, step: str, detail: str) -> None:
        """Passes it on."""
        self._listener.started(step, detail)

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Passes it on."""
        self._listener.finished(step, detail, seconds)

    def notice(self, text: str) -> None:
        """Passes it on and keeps it."""
        self.notices.append(text)
        self._listener.notice(text)

    def output(self, line: str) -> None:
        """Passes it on."""
        self._listener.output(line)


class Held(Silent):
    """Keeps a tool's output back until it is known whether it is worth hearing."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def output(self, line: str) -> None:
        """Keeps it."""
        self._lines.append(line)

    def release(self, listener: Listener) -> None:
        """Passes on what was kept."""
        for line in self._lines:
            listener.output(line)


@contextmanager
def step(listener: Listener, name: str, detail: str) -> Iterator[None]:
    """Tells of a step and how long it took. One that fails is not told as finished."""
    listener.started(name, detail)
    begin = time.monotonic()
    yield
    listener.finished(name, detail, time.monotonic() - begin)


def size_text(size: int) -> str:
    """Bytes for people: ``17.3 MiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":  # noqa: PLR2004  the step between binary units
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def count_text(count: int, noun: str) -> str:
    """A count and its noun: ``1 file``, ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
