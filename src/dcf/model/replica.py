"""A replica: its states, the transitions between them, and what its engine observes.

::

    STARTING ──▶ READY ──▶ DRAINING ──▶ EXITED
        │          │                      ▲
        │          └──────────────────────┤
        └──▶ FAILED ──────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType


class ReplicaState(StrEnum):
    """State of a replica."""

    STARTING = "starting"
    """The process runs, but the handler's constructor has not returned."""
    READY = "ready"
    """It accepts calls."""
    DRAINING = "draining"
    """It accepts no new calls and finishes the calls in progress."""
    FAILED = "failed"
    """The handler could not be started; the process is about to exit."""
    EXITED = "exited"
    """The process has exited."""


TRANSITIONS: dict[ReplicaState, frozenset[ReplicaState]] = {
    ReplicaState.STARTING: frozenset(
        {ReplicaState.READY, ReplicaState.FAILED, ReplicaState.DRAINING, ReplicaState.EXITED}
    ),
    ReplicaState.READY: frozenset({ReplicaState.DRAINING, ReplicaState.EXITED}),
    ReplicaState.DRAINING: frozenset({ReplicaState.EXITED}),
    ReplicaState.FAILED: frozenset({ReplicaState.EXITED}),
    ReplicaState.EXITED: frozenset(),
}
"""The states that may follow each state."""


def follows(before: ReplicaState, after: ReplicaState) -> bool:
    """Return whether a replica may change from state ``before`` to ``after``."""
    return after in TRANSITIONS[before]


ReplicaId = NewType("ReplicaId", str)
"""Id of a replica: letters, digits, ``.``, ``_`` and ``-``. Ids are never reused."""


@dataclass(frozen=True, slots=True)
class ReplicaExit:
    """Why a replica exited or is about to exit.

    Attributes:
        code: The process's exit code; a negative signal number if a signal killed it; None until it
            has exited.
        at: Seconds since the epoch.
        reason: One sentence: the replica's own report, or else the exit code in words.
        error: Class in ``dcf.errors`` if the handler could not be started, else "".
        traceback: The author's traceback; may be "".
        asked: Whether the replica had been asked to stop.
    """

    code: int | None
    at: float
    reason: str
    error: str = ""
    traceback: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """A replica as its engine sees it.

    Attributes:
        id: The replica's id.
        state: The replica's state.
        endpoint: Where it accepts calls (``dcf.client``); "" before it is READY.
        exit: Why it failed or exited. Set with FAILED and EXITED, and with a DRAINING that the
            engine itself started.
        limits: How each limit is enforced, for people: ``memory: 512 MiB (RLIMIT_DATA)``.
    """

    id: ReplicaId
    state: ReplicaState
    endpoint: str = ""
    exit: ReplicaExit | None = None
    limits: tuple[str, ...] = ()
