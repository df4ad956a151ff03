"""The input and the actions of a turn of the control loop.

They do not depend on an engine: the control plane translates an engine's observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dcf.model.event import Event
from dcf.model.observed import Observed, ReplicaKey


@dataclass(frozen=True, slots=True)
class Route:
    """The replicas that get the calls of a function.

    Attributes:
        endpoints: Endpoints of the replicas; empty if the function has no ready replica.
        canaries: Endpoints of the canary's replicas.
        share: Percentage of the calls for ``canaries``; 0 without a canary.
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
    """The observed state.

    It must be complete: before the engine has reported all its replicas, no turn may run, because a
    running replica would seem to be missing.

    Attributes:
        replicas: All replicas that the engine knows, including exited ones that are not forgotten.
        published: The routes that the data plane has confirmed, by function; None if it has
            confirmed the removal of the function. The state of all other functions is unknown,
            as that of every function is after a restart of the control plane. The first turn
            publishes all routes, and the data plane then removes all other functions.
        recorded: Keys of the exits that this control plane has recorded.
    """

    replicas: tuple[Observed, ...] = ()
    published: Mapping[str, Route | None] = field(default_factory=dict)
    recorded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start this replica. If it was started already, do nothing."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Stop a replica. If it is being stopped already, do nothing.

    Attributes:
        key: The replica.
        grace: Seconds for its calls in progress.
    """

    key: ReplicaKey
    grace: float


@dataclass(frozen=True, slots=True)
class PublishRoute:
    """Replace the route of a function."""

    function: str
    route: Route


@dataclass(frozen=True, slots=True)
class WithdrawRoute:
    """Remove a function from the data plane."""

    function: str


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Store an event, unless an event with its key is stored already."""

    event: Event


@dataclass(frozen=True, slots=True)
class ForgetReplica:
    """Forget an exited replica. Its exit was recorded before."""

    key: ReplicaKey


Action = StartReplica | StopReplica | PublishRoute | WithdrawRoute | RecordEvent | ForgetReplica
