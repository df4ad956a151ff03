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
        slot: The place it fills, counted from 0.
        attempt: Which of the replicas that filled that place one after another, from 1.
    """

    function: str
    revision: int
    slot: int
    attempt: int

    @property
    def id(self) -> str:
        """``NAME.REVISION.SLOT.ATTEMPT``; names have no full stop, so it can be read back.

        Unique among the replicas that are known, not among all there ever were: whoever needs that
        adds ``-`` and something of its own.
        """
        return f"{self.function}.{self.revision}.{self.slot}.{self.attempt}"

    @classmethod
    def from_id(cls, text: str) -> ReplicaKey:
        """Reads what :attr:`id` gave, with or without an addition.

        Raises:
            ValueError: When it is something else.
        """
        function, revision, slot, attempt = text.split(".")
        return cls(function, int(revision), int(slot), int(attempt.partition("-")[0]))


@dataclass(frozen=True, slots=True)
class Observed:
    """One replica as its engine sees it.

    Attributes:
        key: Which one.
        state: Where it is in its life. One that FAILED counts as alive until it has EXITED, to
            which the engine sees by itself, as it does when a start takes too long.
        endpoint: Where it listens, as in ``WatcherSettings.listen``; "" before it is ready.
        ready_at: Seconds since the epoch; None when it was never ready.
        exit: What went wrong or how it ended; with FAILED and EXITED alone.
        answers: Whether it answers when it is asked.
    """

    key: ReplicaKey
    state: ReplicaState
    endpoint: str = ""
    ready_at: float | None = None
    exit: ReplicaExit | None = None
    answers: bool = True
