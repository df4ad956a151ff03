"""The parts of chaos that can be left out, to study the others."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """Parts of a run, in addition to kills, stops of replicas, deploys and ordinary calls."""

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
    """Handlers fork, start programs, end their children, and leave some running."""
    REPORTS = "reports"
    """Handlers write malformed reports."""
    BURSTS = "bursts"
    """Many calls arrive at once, at a function that starts replicas for them."""
    BODIES = "bodies"
    """Bodies arrive slowly or incompletely."""
    UNREAD = "unread"
    """Callers do not read their replies."""


def parse(text: str) -> frozenset[Part]:
    """Parse comma-separated names.

    Raises:
        ValueError: If a name is not that of a part.
    """
    return frozenset(Part(name) for name in text.split(",") if name)
