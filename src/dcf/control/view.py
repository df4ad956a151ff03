"""What is wanted, what is seen, and what is to be done: the values of one turn.

Here: values. Not here: what follows from them (:mod:`dcf.control.reconcile`). An engine's own words
are turned into these by whoever joins the two, so that a turn knows no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from dcf.model.event import Event
from dcf.model.replica import ReplicaExit, ReplicaState


@dataclass(frozen=True, slots=True)
class CanaryWanted:
    """A revision that is tried beside the current one.

    Attributes:
        revision: Its number.
        share: Percent of the calls that it is to get, above 0 and below 100.
    """

    revision: int
    share: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one function is to be.

    Attributes:
        function: Its name.
        revision: Number of the revision that is to serve.
        replicas: How many replicas of it.
        surge: How many more may live at a time, of whatever revision; None stands for ``replicas``,
            at least 1. With 0, an old replica is ended before a new one is started: for what
            exists once, such as a GPU.
        canary: What is tried beside it; None when nothing is.
    """

    function: str
    revision: int
    replicas: int
    surge: int | None = None
    canary: CanaryWanted | None = None

    @property
    def canaries(self) -> int:
        """Replicas of the canary: its share of them, at least one where there are any."""
        if self.canary is None or not self.replicas:
            return 0
        return ceil(self.replicas * self.canary.share / 100)

    @property
    def most(self) -> int:
        """Replicas that may live at a time."""
        surge = max(1, self.replicas) if self.surge is None else self.surge
        return self.replicas + self.canaries + surge


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
class Start:
    """Start this replica. Starting one that was started already does nothing."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell a replica to end. Telling it again does nothing.

    Attributes:
        key: Which one.
        grace: Seconds for the calls that it has.
    """

    key: ReplicaKey
    grace: float


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a function's calls there alone."""

    function: str
    route: Route


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Let the data plane forget a function: it is unknown from now on."""

    function: str


@dataclass(frozen=True, slots=True)
class Record:
    """Keep an event. One that is known already is passed over, by its key."""

    event: Event


@dataclass(frozen=True, slots=True)
class Forget:
    """Let the engine forget a replica that has ended. Its last words were recorded before."""

    key: ReplicaKey


Action = Start | Stop | Publish | Withdraw | Record | Forget
