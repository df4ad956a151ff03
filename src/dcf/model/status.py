"""What a gateway tells of its functions: figures and reasons, for lists and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from dcf.model.json_schema import Digest, FunctionName
from dcf.model.replica import ReplicaState


class FunctionState(StrEnum):
    """Where a function is. The first that fits, from above."""

    DELETING = "deleting"
    """It is not deployed any more, and some of its replicas finish their calls."""
    IDLE = "idle"
    """No replica is wanted."""
    READY = "ready"
    """As many replicas of the current revision are ready as are wanted."""
    DEGRADED = "degraded"
    """Fewer are ready than are wanted, and at least one."""
    CRASH_LOOP = "crash-loop"
    """None is ready, and they end quickly again and again."""
    NOT_READY = "not-ready"
    """None is ready, and there was a crash: another start is under way or waits for its time."""
    DEPLOYING = "deploying"
    """None is ready yet, and nothing went wrong so far."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a replica ended.

    Attributes:
        at: Seconds since the epoch.
        detail: One sentence.
        error: Class in ``dcf.errors``; "" when it was no error of the handler's start.
        traceback: The author's traceback; may be "".
        replica: Id of the replica; may be "".
    """

    at: float
    detail: str
    error: str = ""
    traceback: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica.

    Attributes:
        id: Its id.
        revision: Number of its revision.
        state: A word of ``dcf.model.replica.ReplicaState``.
        since: Seconds since the epoch when it was first seen in that state.
        limits: What holds it to each limit, for people: ``memory: 512 MiB (RLIMIT_DATA)``.
        reason: Why it ended; "" while it lives.
    """

    id: str
    revision: int
    state: Annotated[str, ReplicaState]
    since: float
    limits: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """One function.

    Attributes:
        name: Its name.
        artifact: Digest of what runs.
        revision: Number of the current revision.
        serving: Number of the revision that takes the calls; None when none does.
        state: Where it is.
        takes_calls: Whether a replica takes calls now.
        invocations: Calls since it was first deployed.
        replicas: How many are wanted.
        ready: How many of the current revision are ready.
        minimum: Never fewer, unless by hand.
        maximum: Never more, unless by hand.
        target: Calls under way at a time that one replica is to have.
        idle: Seconds without a call after which the last replica goes, where ``minimum`` is 0.
        by_hand: Whether someone asked for this very number of replicas.
        canary: The revision that is tried beside the current one; None when none is.
        share: Percent of the calls that the canary gets.
        desc: Free text.
        maintainer: Free text.
        image: Free text from config.yaml.
        labels: Free key-value pairs.
        annotations: Free key-value pairs that came with the deploy.
        created: Seconds since the epoch, of the first deploy.
        updated: Seconds since the epoch, of the last change by hand.
        failure: How the current revision failed last; None when it did not of late.
        replica_list: Each replica; empty in lists.
    """

    name: FunctionName
    artifact: Digest
    revision: int
    serving: int | None
    state: FunctionState
    takes_calls: bool
    invocations: int
    replicas: int
    ready: int
    minimum: int
    maximum: int
    target: float = 1.0
    idle: float = 300.0
    by_hand: bool = False
    canary: int | None = None
    share: float = 0.0
    desc: str = ""
    maintainer: str = ""
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0
    failure: Failure | None = None
    replica_list: tuple[ReplicaStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionStatus:
    """One revision.

    Attributes:
        number: Counted from 1.
        artifact: Digest of what runs.
        created: Seconds since the epoch.
        current: Whether it is the one that is to serve.
        share: Percent of the calls that it gets as a canary; None when it is none.
    """

    number: int
    artifact: Digest
    created: float
    current: bool
    share: float | None = None


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """A line that a replica printed.

    Attributes:
        at: Seconds since the epoch.
        replica: Id of the replica.
        text: The line without its end.
    """

    at: float
    replica: str
    text: str


@dataclass(frozen=True, slots=True)
class Wanting:
    """A blob that a gateway lacks.

    Attributes:
        digest: Its name.
        size: Bytes in all.
        offset: Bytes that the gateway has already; sending goes on there.
    """

    digest: Digest
    size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """What a gateway tells of itself.

    Attributes:
        version: Of DCF.
        functions: How many are deployed.
        replicas: How many are ready.
        started: Seconds since the epoch when the control plane was started.
        engine: Where replicas run: ``local``.
        open: Whether calls need no key.
    """

    version: str
    functions: int
    replicas: int
    started: float
    engine: str = "local"
    open: bool = True
