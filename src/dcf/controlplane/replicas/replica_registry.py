"""The replicas as they are seen: what the engine tells, and what is known before it can tell."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dcf.model.observed import Observed, ReplicaKey
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState, follows

REMEMBERED = 5
"""Ended replicas of a function whose logs can still be asked for by the function's name."""


@dataclass(slots=True)
class ReplicaRecord:
    """One replica.

    Attributes:
        key: Its place.
        id: Its name.
        state: Its state.
        since: When it was first seen in that state, in seconds since the epoch.
        endpoint: Where it takes calls; "" before it is ready.
        ready_at: When it was first seen ready, in seconds since the epoch; None before.
        exit: Why it failed or ended.
        limits: What holds it to each limit, for people.
        answers: Whether it answered when it was asked of late.
        told: Whether the engine knows it. One that is still being laid out it does not know yet,
            and one whose laying out failed it never will.
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
    told: bool = False

    def observed(self) -> Observed:
        """The replica as a turn looks at it."""
        return Observed(self.key, self.state, self.endpoint, self.ready_at, self.exit, self.answers)


class ReplicaRegistry:
    """Every replica that is known, by id.

    Attributes:
        is_known: Whether the engine has told of all that it has. Before, living replicas would be
            taken for missing ones.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """An empty one.

        Args:
            clock: Seconds since the epoch.
        """
        self.is_known = False
        self._clock = clock
        self._seen: dict[ReplicaId, ReplicaRecord] = {}
        self._ended: dict[str, deque[ReplicaId]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def begin(self, known: Iterable[Observation]) -> None:
        """Takes the engine's first word: all replicas that it has. Others it has no more."""
        known = tuple(known)
        ids = {one.id for one in known}
        self._seen = {id_: one for id_, one in self._seen.items() if not one.told or id_ in ids}
        for one in known:
            self.take(one, anew=True)
        self.is_known = True

    def take(self, observation: Observation, *, anew: bool = False) -> None:
        """Takes one word of the engine's.

        Args:
            observation: What it tells.
            anew: Whether it counts even where the state it tells cannot follow the one known.
        """
        one = self._seen.get(observation.id)
        if one is None:
            try:
                key = ReplicaKey.from_id(observation.id)
            except ValueError:
                return  # a replica, but none of ours
            one = ReplicaRecord(key, observation.id, ReplicaState.STARTING, self._clock())
            self._seen[observation.id] = one
        one.told = True
        self._to(one, observation, anew=anew)

    def _to(self, one: ReplicaRecord, observation: Observation, *, anew: bool) -> None:
        state = observation.state
        if state is not one.state:
            if not anew and not follows(one.state, state):
                return
            one.state, one.since = state, self._clock()
        one.endpoint = observation.endpoint or one.endpoint
        one.limits = observation.limits
        if one.exit is None or (observation.exit is not None and not observation.exit.asked):
            # Why it failed says more than that it was asked to end then.
            one.exit = observation.exit
        if state is ReplicaState.READY and one.ready_at is None:
            one.ready_at = one.since

    def starting(self, key: ReplicaKey, replica: ReplicaId) -> None:
        """A replica is being laid out; the engine will be asked for it."""
        self._seen[replica] = ReplicaRecord(key, replica, ReplicaState.STARTING, self._clock())

    def draining(self, replica: ReplicaId) -> None:
        """The engine is being asked to end it."""
        one = self._seen.get(replica)
        if one is not None and follows(one.state, ReplicaState.DRAINING):
            one.state, one.since = ReplicaState.DRAINING, self._clock()

    def failed(self, replica: ReplicaId, reason: ReplicaExit) -> None:
        """It is held to have failed, whatever the engine may still think."""
        one = self._seen.get(replica)
        if one is not None and follows(one.state, ReplicaState.FAILED):
            one.state, one.since, one.exit = ReplicaState.FAILED, self._clock(), reason

    def never_began(self, replica: ReplicaId, reason: ReplicaExit) -> None:
        """It could not even be handed to the engine."""
        one = self._seen.get(replica)
        if one is not None:
            one.state, one.since, one.exit = ReplicaState.EXITED, self._clock(), reason

    def forget(self, replica: ReplicaId) -> None:
        """It matters no more."""
        one = self._seen.pop(replica, None)
        if one is not None and one.told:
            self._ended[one.key.function].append(replica)

    def forget_function(self, name: str) -> None:
        """Its past matters no more."""
        self._ended.pop(name, None)

    def find(self, key: ReplicaKey) -> ReplicaRecord | None:
        """The replica in a place."""
        return next((one for one in self._seen.values() if one.key == key), None)

    def get(self, replica: ReplicaId) -> ReplicaRecord | None:
        """A replica by its id."""
        return self._seen.get(replica)

    def of(self, function: str) -> list[ReplicaRecord]:
        """A function's replicas, in the order of their starts."""
        return [one for one in self._seen.values() if one.key.function == function]

    def functions(self) -> set[str]:
        """Names of all functions that have replicas."""
        return {one.key.function for one in self._seen.values()}

    def by_function(self) -> dict[str, list[ReplicaRecord]]:
        """All of them."""
        found: dict[str, list[ReplicaRecord]] = defaultdict(list)
        for one in self._seen.values():
            found[one.key.function].append(one)
        return found

    def ended(self, function: str) -> tuple[ReplicaId, ...]:
        """Ids of replicas that are forgotten, oldest first."""
        return tuple(self._ended.get(function, ()))

    def all(self) -> list[ReplicaRecord]:
        """Every one."""
        return list(self._seen.values())
