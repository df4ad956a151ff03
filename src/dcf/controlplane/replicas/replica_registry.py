"""The state of all replicas: observations of the engine, and starts that it does not know yet."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcf.model.observed import Observed, ReplicaKey
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState, follows

REMEMBERED = 5
"""Number of ended replicas of a function whose logs are still part of the function's log."""


@dataclass(slots=True)
class ReplicaRecord:
    """A replica as it was last observed.

    Attributes:
        key: Function, revision, slot and attempt.
        id: Its id in the engine.
        state: Its state.
        since: When this state was first observed, in seconds since the epoch.
        endpoint: Where it accepts calls; "" before it is ready.
        ready_at: When it was first observed to be ready, in seconds since the epoch; None before.
        exit: Why it failed or exited.
        limits: How each of its limits is enforced, for people.
        answers: Whether it passes its health checks.
        in_engine: Whether the engine knows it. It does not while the files are being prepared, and
            never if that fails.
    """

    key: ReplicaKey
    id: ReplicaId
    state: ReplicaState
    since: float
    endpoint: str = ""
    ready_at: float | None = None
    exit: ReplicaExit | None = None
    limits: tuple[str, ...] = ()
    answers: bool = True
    in_engine: bool = False

    def observed(self) -> Observed:
        """Return the replica in the form that a turn reads."""
        return Observed(self.key, self.state, self.endpoint, self.ready_at, self.exit, self.answers)


class ReplicaRegistry:
    """All known replicas, by id.

    Attributes:
        is_known: Whether the engine has reported all its replicas. Until then, a running replica
            could seem to be missing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Create an empty registry.

        Args:
            clock: Seconds since the epoch.
        """
        self.is_known = False
        self._clock = clock
        self._records: dict[ReplicaId, ReplicaRecord] = {}
        self._ended: dict[str, deque[ReplicaId]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def begin(self, known: Iterable[Observation]) -> None:
        """Replace all replicas of the engine by its complete list, which begins an observation."""
        known = tuple(known)
        ids = {observation.id for observation in known}
        self._records = {
            id_: record
            for id_, record in self._records.items()
            if not record.in_engine or id_ in ids
        }
        for observation in known:
            self.update(observation, anew=True)
        self.is_known = True

    def update(self, observation: Observation, *, anew: bool = False) -> None:
        """Apply an observation of one replica.

        Args:
            observation: The observation.
            anew: Whether to accept it even if its state cannot follow the known state.
        """
        record = self._records.get(observation.id)
        if record is None:
            try:
                key = ReplicaKey.from_id(observation.id)
            except ValueError:
                return  # a replica that this gateway did not start
            record = ReplicaRecord(key, observation.id, ReplicaState.STARTING, self._clock())
            self._records[observation.id] = record
        record.in_engine = True
        self._transition(record, observation, anew=anew)

    def _transition(self, record: ReplicaRecord, observation: Observation, *, anew: bool) -> None:
        state = observation.state
        if state is not record.state:
            if not anew and not follows(record.state, state):
                return
            record.state, record.since = state, self._clock()
        record.endpoint = observation.endpoint or record.endpoint
        record.limits = observation.limits
        if record.exit is None or (observation.exit is not None and not observation.exit.asked):
            # Keep the reason of a failure: a later stop on request explains less.
            record.exit = observation.exit
        if state is ReplicaState.READY and record.ready_at is None:
            record.ready_at = record.since

    def starting(self, key: ReplicaKey, replica: ReplicaId) -> None:
        """Record that a replica's files are being prepared."""
        self._records[replica] = ReplicaRecord(key, replica, ReplicaState.STARTING, self._clock())

    def draining(self, replica: ReplicaId) -> None:
        """Record that the engine was asked to stop a replica."""
        record = self._records.get(replica)
        if record is not None and follows(record.state, ReplicaState.DRAINING):
            record.state, record.since = ReplicaState.DRAINING, self._clock()

    def failed(self, replica: ReplicaId, reason: ReplicaExit) -> None:
        """Record that a replica has failed, whatever the engine reports."""
        record = self._records.get(replica)
        if record is not None and follows(record.state, ReplicaState.FAILED):
            record.state, record.since, record.exit = ReplicaState.FAILED, self._clock(), reason

    def never_began(self, replica: ReplicaId, reason: ReplicaExit) -> None:
        """Record that a replica could not be started at all."""
        record = self._records.get(replica)
        if record is not None:
            record.state, record.since, record.exit = ReplicaState.EXITED, self._clock(), reason

    def forget(self, replica: ReplicaId) -> None:
        """Remove a replica. Its log stays available for a while."""
        record = self._records.pop(replica, None)
        if record is not None and record.in_engine:
            self._ended[record.key.function].append(replica)

    def forget_function(self, name: str) -> None:
        """Forget the ended replicas of a function."""
        self._ended.pop(name, None)

    def find(self, key: ReplicaKey) -> ReplicaRecord | None:
        """Return the replica with a key."""
        return next((record for record in self._records.values() if record.key == key), None)

    def get(self, replica: ReplicaId) -> ReplicaRecord | None:
        """Return the replica with an id."""
        return self._records.get(replica)

    def of(self, function: str) -> list[ReplicaRecord]:
        """Return the replicas of a function, in the order of their starts."""
        return [record for record in self._records.values() if record.key.function == function]

    def functions(self) -> set[str]:
        """Return the names of all functions that have replicas."""
        return {record.key.function for record in self._records.values()}

    def by_function(self) -> dict[str, list[ReplicaRecord]]:
        """Return all replicas, by function."""
        records: dict[str, list[ReplicaRecord]] = defaultdict(list)
        for record in self._records.values():
            records[record.key.function].append(record)
        return records

    def ended(self, function: str) -> tuple[ReplicaId, ...]:
        """Return the ids of recently ended replicas of a function, oldest first."""
        return tuple(self._ended.get(function, ()))

    def all(self) -> list[ReplicaRecord]:
        """Return all replicas."""
        return list(self._records.values())
