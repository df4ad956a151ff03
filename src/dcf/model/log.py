"""A line that a process printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        at: When it was read from the process, in seconds since the epoch, to the millisecond.
        text: The line without its line break.
    """

    at: float
    text: str
