"""What is wanted, what is seen, and what is to be done: the values of one turn.

Here: values. Not here: what follows from them (:mod:`dcf.reconciler.reconcile`). An engine's own
words are turned into these by whoever joins the two, so that a turn knows no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcf.model.event import Event
from dcf.model.observed import Observed, ReplicaKey


@dataclass(frozen=True, slots=True)
class Route:
    """Where a function's calls go.

    Attributes:
        endpoints: Of the replicas that take them; none at all: it is known, and not ready.
        canaries: Of the canary's replicas.
        share: Percent of the calls that go to ``canaries``; 0 where there are none.
    """

    endpoints: tuple[str, ...] = ()
    canaries: tuple[str, ...] = ()
    share: float = 0.0

    def __contains__(self, endpoint: object) -> bool:
        return endpoint in self.endpoints or endpoint in self.canaries

    def __bool__(self) -> bool:
        return bool(self.endpoints)


@dataclass(frozen=True, slots=True)
class View:
    """All that a turn looks at.

    It must be whole: until the engine has told of every replica that it has, no turn is taken, or
    living replicas would be taken for missing ones.

    Attributes:
        replicas: Every replica that the engine knows, the ended ones until they are forgotten.
        published: Where the data plane sends a function's calls, as it has confirmed it; None for a
            function of which it has confirmed that it knows it no more. What is missing is unknown:
            after a restart of the control plane that is all. A data plane that meets a new control
            plane forgets each function which the first turn does not publish; nobody else could
            know of it.
        recorded: Keys of the exits that were recorded since the control plane was started.
    """

    replicas: tuple[Observed, ...] = ()
    published: Mapping[str, Route | None] = field(default_factory=dict)
    recorded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start this replica. Starting one that was started already does nothing."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Tell a replica to end. Telling it again does nothing.

    Attributes:
        key: Which one.
        grace: Seconds for the calls that it has.
    """

    key: ReplicaKey
    grace: float


@dataclass(frozen=True, slots=True)
class PublishRoute:
    """Send a function's calls there alone."""

    function: str
    route: Route


@dataclass(frozen=True, slots=True)
class WithdrawRoute:
    """Let the data plane forget a function: it is unknown from now on."""

    function: str


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Keep an event. One that is known already is passed over, by its key."""

    event: Event


@dataclass(frozen=True, slots=True)
class ForgetReplica:
    """Let the engine forget a replica that has ended. Its last words were recorded before."""

    key: ReplicaKey


Action = StartReplica | StopReplica | PublishRoute | WithdrawRoute | RecordEvent | ForgetReplica
