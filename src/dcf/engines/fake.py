"""The fake among the engines: replicas that exist in memory alone and do as they are told.

Time passes by :meth:`FakeEngine.tick`, so that a test decides when a replica is ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from dcf.engines.base import ReplicaSpec
from dcf.errors import ReplicaUnknown
from dcf.model.function import Resources
from dcf.model.log import LogLine
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState

PLENTY = Resources(memory=1 << 40, cpu=64.0, gpu=0)
"""A capacity that no test exhausts unasked."""


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
    """An engine (``dcf.engines.base.Engine``) for tests."""

    def __init__(
        self,
        *,
        ready_after: int = 1,
        capacity: Resources = PLENTY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An engine without replicas.

        Args:
            ready_after: Ticks from start to READY.
            capacity: What :meth:`capacity` tells.
            clock: Seconds since 1970.
        """
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
        """What was started and is not forgotten."""
        return {replica: one.spec for replica, one in self._replicas.items()}

    async def start(self, spec: ReplicaSpec) -> ReplicaId:
        """Starts a replica that is READY after the ticks set."""
        if spec.id not in self._replicas:
            seen = Observation(spec.id, ReplicaState.STARTING)
            self._replicas[spec.id] = _Replica(spec, seen, self._ready_after)
            self._logs.setdefault(spec.id, _Log())
            self._tell(seen)
        return spec.id

    async def stop(self, replica: ReplicaId, grace: float) -> None:
        """Ends a replica at once, whatever the grace, and forgets it."""
        del grace
        one = self._replicas.get(replica)
        if one is None:
            return
        if one.seen.state is ReplicaState.READY:
            self._to(one, ReplicaState.DRAINING)
        if one.seen.state is not ReplicaState.EXITED:
            self._end(one, ReplicaExit(0, self._clock(), "exit code 0", asked=True))
        del self._replicas[replica]

    async def observe(self) -> AsyncGenerator[tuple[Observation, ...] | Observation, None]:
        """Every replica as it is now, then every change."""
        news: asyncio.Queue[Observation] = asyncio.Queue()
        self._observers.add(news)
        try:
            yield tuple(one.seen for one in self._replicas.values())
            while True:
                yield await news.get()
        finally:
            self._observers.discard(news)

    async def logs(
        self, replica: ReplicaId, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """What :meth:`say` let a replica print."""
        if replica not in self._logs:
            raise ReplicaUnknown(f"there is no replica {replica!r}")
        log = self._logs[replica]
        news: asyncio.Queue[LogLine | None] = asyncio.Queue()
        for line in log.lines:
            if line.at >= since:
                news.put_nowait(line)
        one = self._replicas.get(replica)
        if not follow or one is None or one.seen.state is ReplicaState.EXITED:
            news.put_nowait(None)
        log.followers.add(news)
        try:
            while (line_or_end := await news.get()) is not None:
                yield line_or_end
        finally:
            log.followers.discard(news)

    async def is_suspended(self, replica: ReplicaId) -> bool:
        """Return whether :meth:`suspend` was called for the replica."""
        return replica in self._suspended

    async def log_stacks(self, replica: ReplicaId) -> None:
        """Make a replica print one line of a stack."""
        if replica in self._replicas:
            self.say(replica, "Thread (most recent call first):")

    async def capacity(self) -> Resources:
        """What was set."""
        return self._capacity

    def tick(self, times: int = 1) -> None:
        """Lets time pass: replicas that start come nearer to READY, or fail."""
        for _ in range(times):
            for one in list(self._replicas.values()):
                if one.seen.state is ReplicaState.STARTING:
                    one.ticks -= 1
                    if one.ticks <= 0:
                        self._started(one)

    def fail_starts(self, function: str, error: str, traceback: str = "") -> None:
        """Lets replicas of ``function`` that are not READY yet fail.

        Args:
            function: Whose.
            error: Class in ``dcf.errors``.
            traceback: As an author would see it.
        """
        reason = f"the handler of {function} cannot be started"
        self._failing[function] = ReplicaExit(None, 0.0, reason, error, traceback)

    def crash(self, replica: ReplicaId, code: int = -9) -> None:
        """Ends a replica without its having been asked to.

        Args:
            replica: Which; it must not have ended.
            code: Its exit code.
        """
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._end(self._replicas[replica], ReplicaExit(code, self._clock(), reason))

    def suspend(self, replica: ReplicaId) -> None:
        """Stop a replica from outside, as ``kill -STOP`` does."""
        self._suspended.add(replica)

    def say(self, replica: ReplicaId, text: str) -> None:
        """Lets a replica print a line."""
        log = self._logs[replica]
        line = LogLine(self._clock(), text)
        log.lines.append(line)
        for follower in log.followers:
            follower.put_nowait(line)

    def _started(self, one: _Replica) -> None:
        failure = self._failing.get(one.spec.function)
        if failure is None:
            self._to(one, ReplicaState.READY, f"unix:/memory/{one.spec.id}.sock")
            return
        failure = replace(failure, at=self._clock())
        self._to(one, ReplicaState.FAILED, exit_=failure)
        self._end(one, replace(failure, code=70))

    def _end(self, one: _Replica, exit_: ReplicaExit) -> None:
        self._to(one, ReplicaState.EXITED, exit_=exit_)
        self._logs[one.spec.id].end()

    def _to(
        self,
        one: _Replica,
        state: ReplicaState,
        endpoint: str = "",
        exit_: ReplicaExit | None = None,
    ) -> None:
        one.seen = Observation(one.spec.id, state, endpoint or one.seen.endpoint, exit_)
        self._tell(one.seen)

    def _tell(self, seen: Observation) -> None:
        for observer in self._observers:
            observer.put_nowait(seen)
