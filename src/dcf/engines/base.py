"""The contract of an engine, the place where replicas run.

``dcf.testing.engine_contract`` tests it. One start is one replica on every engine. An engine
restarts nothing: its caller starts another replica.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from dcf.builder.build_progress import SILENT, Listener
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec, Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId
from dcf.settings import WatcherSettings


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """What to run. The engine decides how it is laid out.

    ``dcf.engines.spec.replica_spec`` makes one from a function's spec.

    Attributes:
        id: The replica's name.
        function: The function's name.
        revision: The function's revision, counted from 1; 0 in ``run`` and ``serve``.
        spec: The function. Its ``environment`` holds all of the author's variables, its ``limits``
            are maxima and its ``requests`` minima.
        artifact: The function's files and lock, which the builder's store holds.
        secrets: Names of the secrets that the handler may read.
        settings: How the watcher behaves, as far as that does not depend on the engine. The engine
            sets ``root``, ``listen``, ``lifeline``, ``call_table`` and what enforces the limits.
    """

    id: ReplicaId
    function: str
    revision: int
    spec: FunctionSpec = field(repr=False)
    artifact: Artifact
    secrets: tuple[str, ...] = ()
    settings: WatcherSettings = field(default_factory=WatcherSettings, repr=False)


@dataclass(frozen=True, slots=True)
class EngineFeatures:
    """What an engine can do beyond starting and stopping replicas.

    Attributes:
        listener: Whether ``start`` accepts a listening socket.
        limits: Whether replicas are held to ``limits.memory`` and ``limits.cpu``.
        gpus: Whether replicas can have GPUs.
        logs: Whether the engine keeps what replicas print. Otherwise they print to this process's
            standard error.
    """

    listener: bool = False
    limits: bool = False
    gpus: bool = False
    logs: bool = True


class Engine(Protocol):
    """Where replicas run.

    Close its streams: ``async with contextlib.aclosing(engine.observe()) as observations``.

    Attributes:
        name: What users call it, such as ``local``.
        features: What it can do.
    """

    name: str
    features: EngineFeatures

    async def check(self, function: FunctionSpec) -> None:
        """Check that the engine has what a function needs besides its artifact.

        Raises:
            SecretNotFound: If a secret is missing.
        """

    async def prepare(
        self, artifact: Artifact, function: FunctionSpec, listener: Listener = SILENT
    ) -> None:
        """Make an artifact available to the engine. Do nothing if it is available already.

        If the call is cancelled, the work ends and leaves nothing half made.

        Args:
            artifact: The function's files and lock, which the builder's store holds.
            function: Its name for messages, and the Python it asks for.
            listener: Receives the progress. It may be called on another thread.

        Raises:
            BuildError: If it cannot be made available.
            StorageError: If it cannot be written.
        """

    async def start(self, spec: ReplicaSpec, listener: socket.socket | None = None) -> ReplicaId:
        """Start a replica. Return before it is ready.

        Do nothing if the id is known, in any state, so that a request can be repeated. If the
        replica is stopped during the call, it is not started.

        Args:
            spec: What to run.
            listener: A listening socket on which the replica serves. It stays open here. Only for
                an engine whose features include it.

        Raises:
            BuildError: If the artifact is not available and cannot be made so.
            GpuUnavailable: If too few GPUs are free.
            SecretNotFound: If a secret is missing.
            StartError: If the replica cannot be started.
            StorageError: If its files cannot be written.
        """

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """End a replica, wait until it is gone, and forget it and its files, but not its log.

        Do nothing if the id is unknown. A replica that ended by itself must be stopped as well:
        until then it is observed as EXITED.

        Args:
            replica: The replica.
            grace: Seconds for calls in progress. After that the replica is killed.
        """

    def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Yield the current state of all replicas, then every change, until it is closed.

        Only the first item is a tuple. It is read when the item is requested. Changes follow
        ``dcf.model.replica.TRANSITIONS``; states that passed before the first item may be missing.
        """

    def logs(
        self, replica: ReplicaId, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """Yield what a replica printed. The log outlives the replica for a while.

        Args:
            replica: The replica.
            since: Skip lines before this time, in seconds since 1970.
            follow: Whether to continue until the replica has ended.

        Raises:
            ReplicaUnknown: If there is no such log.
        """

    async def is_suspended(self, replica: ReplicaId) -> bool:
        """Return whether a replica's process is stopped from outside (SIGSTOP).

        False if the engine cannot tell, and for an unknown replica.
        """

    async def log_stacks(self, replica: ReplicaId) -> None:
        """Make a replica log the stack of each of its threads, if the engine can.

        This works even if the watcher cannot answer because the handler holds the interpreter's
        lock. Return after the lines have had time to be written. Do nothing for an unknown id.
        """

    async def capacity(self) -> Resources:
        """Return what the engine has in all for replicas, used or not."""

    async def describe_gpus(self) -> tuple[str, ...]:
        """Return lines for people about the engine's GPUs; at least one line."""

    async def cleanup(self) -> None:
        """Remove what replicas that no longer exist have left, such as folders.

        Raises:
            OSError: If something cannot be removed.
        """
