"""A line that a process printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        at: When it was read from the process, in seconds since 1970 (UTC), to the millisecond.
        text: The line without its end.
    """

    at: float
    text: str
