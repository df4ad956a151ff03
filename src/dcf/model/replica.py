"""A replica's states and the changes allowed between them.

::

    STARTING ──▶ READY ──▶ DRAINING ──▶ EXITED
        │          │                      ▲
        │          └──────────────────────┤
        └──▶ FAILED ──────────────────────┘
"""

from __future__ import annotations

from enum import StrEnum


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
