"""The states of a supervised process, and the transitions between them.

::

                  ┌──────────────┐
                  ▼              │
    (start) ─▶ WAITING ──▶ RUNNING ──▶ EXITED ─────┐
                  │  │        │ │                  │
                  │  └────────┼─┴────▶ CRASH_LOOP ─┤
                  │           ▼                    ▼
                  │        STOPPING ───────────▶ STOPPED
                  └────────────────────────────────▲

Only ``dcf.supervision.process.Process`` sets the state.
"""

from __future__ import annotations

from enum import StrEnum


class ProcessState(StrEnum):
    """The state of a process."""

    WAITING = "waiting"
    """It does not run. It will be started, now or after a delay."""
    RUNNING = "running"
    """It runs."""
    STOPPING = "stopping"
    """It has received SIGTERM and still runs."""
    EXITED = "exited"
    """It ended by itself and will not be restarted."""
    CRASH_LOOP = "crash loop"
    """It ended too often in a row and will not be restarted."""
    STOPPED = "stopped"
    """The supervisor stopped it; its name is free."""


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
"""The allowed next states of each state."""

ENDED = frozenset({ProcessState.EXITED, ProcessState.CRASH_LOOP, ProcessState.STOPPED})
"""States of a process that does not run and will not be restarted."""


def follows(before: ProcessState, after: ProcessState) -> bool:
    """Return whether a process may change from ``before`` to ``after``."""
    return after in TRANSITIONS[before]
