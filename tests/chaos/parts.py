"""The parts of chaos that can be left out, to study the others."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """What a run does, beside kills, stops of replicas, deploys and ordinary calls."""

    MOVING = "moving"
    """A call that has not begun must not be lost when its replica is."""
    FREEZES = "freezes"
    """Every process of the gateway is stopped, some until the liveness checks replace them."""
    DEADLINES = "deadlines"
    """Callers stop waiting before their handler is done."""
    OVERDUE = "overdue"
    """Handlers keep working for longer than their caller's deadline plus the grace."""
    CRASHES = "crashes"
    """Handlers end their process, with calls that wait behind them."""
    HANGS = "hangs"
    """Handlers do not return, or hold the interpreter's lock, with calls that wait behind them."""
    FORKS = "forks"
    """Handlers fork, start programs, end their children, and leave some alone."""
    REPORTS = "reports"
    """Handlers write malformed reports."""
    BURSTS = "bursts"
    """Many calls come at once, to a function that starts replicas for them."""
    BODIES = "bodies"
    """Bodies come slowly, or never to their end."""
    UNREAD = "unread"
    """Callers do not read their replies."""


def parse(text: str) -> frozenset[Part]:
    """Read names with commas between them.

    Raises:
        ValueError: When one is not a part's.
    """
    return frozenset(Part(name) for name in text.split(",") if name)
