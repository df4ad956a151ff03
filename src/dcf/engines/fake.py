"""A fake engine for tests: its replicas exist in memory only.

Time passes with :meth:`FakeEngine.tick`, so that a test decides when a replica is ready.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from dcf.builder.build_progress import SILENT, Listener
from dcf.engines.base import EngineFeatures, ReplicaSpec
from dcf.errors import ReplicaUnknown, SecretNotFound
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec, Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState

PLENTY = Resources(memory=1 << 40, cpu=64.0, gpu=0)
"""A capacity that tests do not exhaust unless they set another one."""


@dataclass(slots=True)
class _Log:
    lines: list[LogLine] = field(default_factory=list)
    followers: set[asyncio.Queue[LogLine | None]] = field(default_factory=set)

    def end(self) -> None:
        for follower in self.followers:
            follower.put_nowait(None)


@dataclass(slots=True)
class _Replica:
    spec: ReplicaSpec
    seen: Observation
    ticks: int


class FakeEngine:
    """An engine (``dcf.engines.base.Engine``) for tests.

    Attributes:
        prepared: The artifacts that were prepared, in order.
        missing_secrets: Names of secrets that are missing.
        start_error: What ``start`` raises; None starts the replica.
    """

    name = "fake"
    features = EngineFeatures()

    def __init__(
        self,
        *,
        ready_after: int = 1,
        capacity: Resources = PLENTY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create an engine without replicas.

        Args:
            ready_after: Ticks from start to READY.
            capacity: What :meth:`capacity` returns.
            clock: Seconds since 1970.
        """
        self.prepared: list[Artifact] = []
        self.missing_secrets: set[str] = set()
        self.start_error: Exception | None = None
        self._ready_after = ready_after
        self._capacity = capacity
        self._clock = clock
        self._replicas: dict[ReplicaId, _Replica] = {}
        self._logs: dict[ReplicaId, _Log] = {}
        self._observers: set[asyncio.Queue[Observation]] = set()
        self._failing: dict[str, ReplicaExit] = {}
        self._suspended: set[ReplicaId] = set()

    @property
    def specs(self) -> dict[ReplicaId, ReplicaSpec]:
        """The specs of the replicas that were started and not forgotten."""
        return {id_: replica.spec for id_, replica in self._replicas.items()}

    async def check(self, function: FunctionSpec) -> None:
        """Raise for a secret in :attr:`missing_secrets`."""
        for name in function.secrets:
            if name in self.missing_secrets:
                raise SecretNotFound(name, None)

    async def prepare(
        self, artifact: Artifact, function: FunctionSpec, listener: Listener = SILENT
    ) -> None:
        """Record the artifact."""
        del function, listener
        if artifact not in self.prepared:
            self.prepared.append(artifact)

    async def start(self, spec: ReplicaSpec, listener: socket.socket | None = None) -> ReplicaId:
        """Start a replica that is READY after the ticks set."""
        if listener is not None:
            raise ValueError("the fake engine accepts no listening socket")
        if self.start_error is not None:
            raise self.start_error
        if spec.id not in self._replicas:
            seen = Observation(spec.id, ReplicaState.STARTING)
            self._replicas[spec.id] = _Replica(spec, seen, self._ready_after)
            self._logs.setdefault(spec.id, _Log())
            self._notify(seen)
        return spec.id

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """End a replica at once and forget it."""
        del grace
        known = self._replicas.get(replica)
        if known is None:
            return
        if known.seen.state is ReplicaState.READY:
            self._transition(known, ReplicaState.DRAINING)
        if known.seen.state is not ReplicaState.EXITED:
            self._end(known, ReplicaExit(0, self._clock(), "exit code 0", asked=True))
        del self._replicas[replica]

    async def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Yield the state of every replica, then every change."""
        changes: asyncio.Queue[Observation] = asyncio.Queue()
        self._observers.add(changes)
        try:
            yield tuple(replica.seen for replica in self._replicas.values())
            while True:
                yield await changes.get()
        finally:
            self._observers.discard(changes)

    async def logs(
        self, replica: ReplicaId, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """Yield the lines given to :meth:`say`."""
        if replica not in self._logs:
            raise ReplicaUnknown(f"there is no replica {replica!r}")
        log = self._logs[replica]
        lines: asyncio.Queue[LogLine | None] = asyncio.Queue()
        for line in log.lines:
            if line.at >= since:
                lines.put_nowait(line)
        known = self._replicas.get(replica)
        if not follow or known is None or known.seen.state is ReplicaState.EXITED:
            lines.put_nowait(None)
        log.followers.add(lines)
        try:
            while (line_or_end := await lines.get()) is not None:
                yield line_or_end
        finally:
            log.followers.discard(lines)

    async def is_suspended(self, replica: ReplicaId) -> bool:
        """Return whether :meth:`suspend` was called for the replica."""
        return replica in self._suspended

    async def log_stacks(self, replica: ReplicaId) -> None:
        """Make a replica print one line of a stack."""
        if replica in self._replicas:
            self.say(replica, "Thread (most recent call first):")

    async def capacity(self) -> Resources:
        """Return the capacity that was set."""
        return self._capacity

    async def describe_gpus(self) -> tuple[str, ...]:
        """Return the number of GPUs that was set."""
        return (f"{self._capacity.gpu or 0} GPUs",)

    async def cleanup(self) -> None:
        """Do nothing: replicas leave nothing."""

    def tick(self, times: int = 1) -> None:
        """Let time pass: starting replicas come closer to READY, or fail."""
        for _ in range(times):
            for replica in list(self._replicas.values()):
                if replica.seen.state is ReplicaState.STARTING:
                    replica.ticks -= 1
                    if replica.ticks <= 0:
                        self._started(replica)

    def fail_starts(self, function: str, error: str, traceback: str = "") -> None:
        """Make the replicas of a function that are not READY yet fail.

        Args:
            function: The function's name.
            error: Class in ``dcf.errors``.
            traceback: The traceback that the author sees.
        """
        reason = f"the handler of {function} cannot be started"
        self._failing[function] = ReplicaExit(None, 0.0, reason, error, traceback)

    def crash(self, replica: ReplicaId, code: int = -9) -> None:
        """End a replica without a stop.

        Args:
            replica: A replica that has not ended.
            code: Its exit code.
        """
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._end(self._replicas[replica], ReplicaExit(code, self._clock(), reason))

    def suspend(self, replica: ReplicaId) -> None:
        """Stop a replica from outside, as ``kill -STOP`` does."""
        self._suspended.add(replica)

    def say(self, replica: ReplicaId, text: str) -> None:
        """Make a replica print a line."""
        log = self._logs[replica]
        line = LogLine(self._clock(), text)
        log.lines.append(line)
        for follower in log.followers:
            follower.put_nowait(line)

    def _started(self, replica: _Replica) -> None:
        failure = self._failing.get(replica.spec.function)
        if failure is None:
            self._transition(replica, ReplicaState.READY, f"unix:/memory/{replica.spec.id}.sock")
            return
        failure = replace(failure, at=self._clock())
        self._transition(replica, ReplicaState.FAILED, exit_=failure)
        self._end(replica, replace(failure, code=70))

    def _end(self, replica: _Replica, exit_: ReplicaExit) -> None:
        self._transition(replica, ReplicaState.EXITED, exit_=exit_)
        self._logs[replica.spec.id].end()

    def _transition(
        self,
        replica: _Replica,
        state: ReplicaState,
        endpoint: str = "",
        exit_: ReplicaExit | None = None,
    ) -> None:
        endpoint = endpoint or replica.seen.endpoint
        replica.seen = Observation(replica.spec.id, state, endpoint, exit_)
        self._notify(replica.seen)

    def _notify(self, seen: Observation) -> None:
        for observer in self._observers:
            observer.put_nowait(seen)
