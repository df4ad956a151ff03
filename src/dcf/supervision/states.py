"""A supervised process's states and the changes allowed between them.

::

                  ┌──────────────┐
                  ▼              │
    (start) ─▶ WAITING ──▶ RUNNING ──▶ EXITED ─────┐
                  │  │        │ │                  │
                  │  └────────┼─┴────▶ CRASH_LOOP ─┤
                  │           ▼                    ▼
                  │        STOPPING ───────────▶ STOPPED
                  └────────────────────────────────▲

``dcf.supervision.process.Process`` owns the state; nobody else sets it.
"""

from __future__ import annotations

from enum import StrEnum


class ProcessState(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    """It does not run; its next start is due, now or after a delay."""
    RUNNING = "running"
    """It runs."""
    STOPPING = "stopping"
    """It was asked to end and has not yet."""
    EXITED = "exited"
    """It ended by itself and is not started again."""
    CRASH_LOOP = "crash loop"
    """It ended too often in a row and is not started again."""
    STOPPED = "stopped"
    """It ended because it was asked to; its name is free."""


TRANSITIONS: dict[ProcessState, frozenset[ProcessState]] = {
    ProcessState.WAITING: frozenset(
        {ProcessState.RUNNING, ProcessState.CRASH_LOOP, ProcessState.STOPPED}
    ),
    ProcessState.RUNNING: frozenset(
        {
            ProcessState.WAITING,
            ProcessState.EXITED,
            ProcessState.CRASH_LOOP,
            ProcessState.STOPPING,
        }
    ),
    ProcessState.STOPPING: frozenset({ProcessState.STOPPED}),
    ProcessState.EXITED: frozenset({ProcessState.STOPPED}),
    ProcessState.CRASH_LOOP: frozenset({ProcessState.STOPPED}),
    ProcessState.STOPPED: frozenset(),
}
"""Which state may follow which."""

ENDED = frozenset({ProcessState.EXITED, ProcessState.CRASH_LOOP, ProcessState.STOPPED})
"""States in which nothing runs and nothing will by itself."""


def follows(before: ProcessState, after: ProcessState) -> bool:
    """Whether a process may go from ``before`` to ``after``."""
    return after in TRANSITIONS[before]
