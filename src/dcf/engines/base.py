"""What an engine is: where replicas run. ``dcf.testing.engine_contract`` tests that one is.

One start is one replica on every engine. An engine restarts nothing: who wants a replica back
starts another one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dcf.model.function import Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaId
from dcf.settings import WatcherSettings


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """All that is needed to start one replica.

    Attributes:
        id: The replica's name.
        function: The function's name.
        revision: The function's revision, counted from 1.
        python: Interpreter of the function's environment.
        source: The function's files, laid out for this replica.
        settings: How the watcher is to behave; the engine fills in ``function``, ``root`` and what
            depends on where it runs.
        environment: The author's variables.
        extra: Variables of the framework's own, such as CUDA_VISIBLE_DEVICES.
        secrets: Folder with the replica's secrets, one file each; None without any.
        limits: At most this much. With ``gpu`` at 0 it sees no GPU; above 0 it has that many to
            itself, and runs on the CPU where the engine has none at all.
        requests: At least this much. An engine without that many GPUs does not start it.
    """

    id: ReplicaId
    function: str
    revision: int
    python: Path
    source: Path
    settings: WatcherSettings = field(default_factory=WatcherSettings)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Path | None = None
    limits: Resources = field(default_factory=Resources)
    requests: Resources = field(default_factory=Resources)


class Engine(Protocol):
    """Where replicas run.

    Streams are to be closed: ``async with contextlib.aclosing(engine.observe()) as seen``.
    """

    async def start(self, spec: ReplicaSpec) -> ReplicaId:
        """Starts a replica and does not wait until it is ready.

        Nothing happens when the id is known, in whatever state: a request can be repeated.

        Raises:
            StartError: When it is known at once that it cannot be started.
            GpuUnavailable: When too few GPUs are free for it.
        """

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """Ends a replica, waits until it is gone, and forgets it, its log excepted.

        Nothing happens when the id is not known. A replica that ended by itself is to be stopped as
        well: until then it is observed as EXITED.

        Args:
            replica: Which.
            grace: Seconds for calls in flight; then it is killed.
        """

    def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Every replica as it is now, then every change. It goes on until it is closed.

        The first item, and no other, is a tuple: all replicas, or none. "Now" is when it is asked
        for.
        Only changes of ``dcf.model.replica.TRANSITIONS`` are seen; steps that were taken before
        anybody looked may be left out.
        """

    def logs(
        self, replica: ReplicaId, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """What a replica printed; for a while also of one that is forgotten.

        Args:
            replica: Which.
            since: Lines from this time on, in seconds since 1970.
            follow: Whether to go on with what it prints until it has ended.

        Raises:
            ReplicaUnknown: When there is no such log.
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
        """What the engine has in all for replicas, used or not."""
