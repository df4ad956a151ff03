"""The observed state of a replica, and the key that identifies the replica."""

from __future__ import annotations

from dataclasses import dataclass

from dcf.model.replica import ReplicaExit, ReplicaState


@dataclass(frozen=True, slots=True, order=True)
class ReplicaKey:
    """Which replica.

    Attributes:
        function: The function's name.
        revision: Number of its revision.
        slot: The replica's place within the revision, counted from 0.
        attempt: Number of the start in this slot, counted from 1.
    """

    function: str
    revision: int
    slot: int
    attempt: int

    @property
    def id(self) -> str:
        """``NAME.REVISION.SLOT.ATTEMPT``. Names contain no full stop, so it can be parsed.

        It is unique among the known replicas, but may repeat over time. Callers that need a
        permanently unique id append ``-`` and a random part.
        """
        return f"{self.function}.{self.revision}.{self.slot}.{self.attempt}"

    @classmethod
    def from_id(cls, text: str) -> ReplicaKey:
        """Parse an :attr:`id`, with or without an appended part.

        Raises:
            ValueError: If it is not an id.
        """
        function, revision, slot, attempt = text.split(".")
        return cls(function, int(revision), int(slot), int(attempt.partition("-")[0]))


@dataclass(frozen=True, slots=True)
class Observed:
    """A replica as its engine observes it.

    Attributes:
        key: The replica's key.
        state: The replica's state. A FAILED replica counts as alive until it has EXITED. The engine
            ensures that it exits, also when its start takes too long.
        endpoint: Its address, as in ``WatcherSettings.listen``; "" before it is ready.
        ready_at: When it became ready, in seconds since 1970; None if it never was.
        exit: Why it failed or how it exited; only in the states FAILED and EXITED.
        answers: Whether it passes its health checks.
    """

    key: ReplicaKey
    state: ReplicaState
    endpoint: str = ""
    ready_at: float | None = None
    exit: ReplicaExit | None = None
    answers: bool = True
