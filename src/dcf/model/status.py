"""What a gateway reports about its functions, for lists and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from dcf.model.json_schema import Digest, FunctionName
from dcf.model.replica import ReplicaState


class FunctionState(StrEnum):
    """State of a function: the first in this list that applies."""

    DELETING = "deleting"
    """It was deleted, and some of its replicas still finish their calls."""
    IDLE = "idle"
    """Its target is 0 replicas."""
    READY = "ready"
    """The current revision has its target number of ready replicas."""
    DEGRADED = "degraded"
    """At least one replica is ready, but fewer than the target."""
    CRASH_LOOP = "crash-loop"
    """No replica is ready, and they repeatedly exit soon after their start."""
    NOT_READY = "not-ready"
    """No replica is ready after a crash. The next start is in progress, or delayed by back-off."""
    DEPLOYING = "deploying"
    """No replica is ready yet, and none has failed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a replica exited.

    Attributes:
        at: Seconds since the epoch.
        detail: One sentence for people.
        error: Class in ``dcf.errors`` if the handler could not be started, else "".
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
        since: When it was first seen in that state, in seconds since the epoch.
        limits: How each limit is enforced, for people: ``memory: 512 MiB (RLIMIT_DATA)``.
        reason: Why it exited; "" while it runs.
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
        artifact: Digest of the artifact that runs.
        revision: Number of the current revision.
        serving: Number of the revision that serves the calls; None if no revision does.
        state: The function's state.
        takes_calls: Whether a replica accepts calls now.
        invocations: Calls since the first deploy.
        replicas: Target number of replicas.
        ready: Number of ready replicas of the current revision.
        minimum: Minimum number of replicas, unless a user set another number.
        maximum: Maximum number of replicas, unless a user set another number.
        target: Target concurrent calls of one replica.
        idle: Seconds without a call after which the last replica stops, if ``minimum`` is 0.
        by_hand: Whether a user set this number of replicas.
        canary: Number of the canary revision; None without a canary.
        share: Percentage of the calls that the canary gets.
        desc: Free text.
        maintainer: Free text.
        image: Free text from config.yaml.
        labels: Free key-value pairs.
        annotations: Free key-value pairs of the deploy request.
        created: Time of the first deploy, in seconds since the epoch.
        updated: Time of the last change by a user, in seconds since the epoch.
        failure: The last failure of the current revision; None without a recent one.
        replica_list: The replicas; empty in lists.
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
        artifact: Digest of the artifact that runs.
        created: Seconds since the epoch.
        current: Whether it is the current revision.
        share: Percentage of the calls that it gets as the canary; None if it is not the canary.
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
        text: The line without its line break.
    """

    at: float
    replica: str
    text: str


@dataclass(frozen=True, slots=True)
class MissingBlob:
    """A blob that a gateway lacks.

    Attributes:
        digest: The blob's name.
        size: Size in bytes.
        offset: Bytes that the gateway already has. The client continues there.
    """

    digest: Digest
    size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """A gateway's version and state.

    Attributes:
        version: Version of DCF.
        functions: Number of deployed functions.
        replicas: Number of ready replicas.
        started: When the control plane was started, in seconds since the epoch.
        engine: The engine that runs replicas: ``local``.
        open: Whether calls need no key.
    """

    version: str
    functions: int
    replicas: int
    started: float
    engine: str = "local"
    open: bool = True
