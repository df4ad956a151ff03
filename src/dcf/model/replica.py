"""A replica: its states with the changes allowed between them, and what is seen of it.

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
    """Where a replica is in its life."""

    STARTING = "starting"
    """The process runs; the handler's constructor has not returned."""
    READY = "ready"
    """It takes calls."""
    DRAINING = "draining"
    """It takes no new calls and finishes those it has."""
    FAILED = "failed"
    """The handler could not be started; the process is about to end."""
    EXITED = "exited"
    """The process is gone."""


TRANSITIONS: dict[ReplicaState, frozenset[ReplicaState]] = {
    ReplicaState.STARTING: frozenset(
        {ReplicaState.READY, ReplicaState.FAILED, ReplicaState.DRAINING, ReplicaState.EXITED}
    ),
    ReplicaState.READY: frozenset({ReplicaState.DRAINING, ReplicaState.EXITED}),
    ReplicaState.DRAINING: frozenset({ReplicaState.EXITED}),
    ReplicaState.FAILED: frozenset({ReplicaState.EXITED}),
    ReplicaState.EXITED: frozenset(),
}
"""Which state may follow which."""


def follows(before: ReplicaState, after: ReplicaState) -> bool:
    """Whether a replica may go from ``before`` to ``after``."""
    return after in TRANSITIONS[before]


ReplicaId = NewType("ReplicaId", str)
"""A replica's name: letters, digits, ``.``, ``_`` and ``-``, unique among all there ever were."""


@dataclass(frozen=True, slots=True)
class ReplicaExit:
    """Why a replica is no more, or is about to be.

    Attributes:
        code: The process's exit code; the negative number of a signal; None while it still ends.
        at: Seconds since 1970.
        reason: A sentence: what the replica said itself, else the code in words.
        error: Class in ``dcf.errors`` when the handler could not be started, else "".
        traceback: The author's traceback; may be "".
        asked: Whether it had been asked to end.
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
        id: Which.
        state: Its state.
        endpoint: Where it takes calls (``dcf.client``); "" before it is READY.
        exit: What went wrong or how it ended; set with FAILED and EXITED, and with a DRAINING that
            the engine itself started.
        limits: What holds it to each limit, for people: ``memory: 512 MiB (RLIMIT_DATA)``.
    """

    id: ReplicaId
    state: ReplicaState
    endpoint: str = ""
    exit: ReplicaExit | None = None
    limits: tuple[str, ...] = ()
