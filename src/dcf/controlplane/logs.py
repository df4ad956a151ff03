"""The log of a function: the logs of its replicas, merged."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Self

from dcf.engines.base import Engine
from dcf.errors import ReplicaUnknown, SupervisorError
from dcf.model.log import LogLine
from dcf.model.replica import ReplicaId
from dcf.model.status import ReplicaLine

HELD = 1000
"""Maximum number of lines buffered for a slow reader. Above it, reading from the replicas' logs
pauses."""

RETRY = 0.2
"""Seconds before reading of a log that broke off resumes."""


@dataclass(slots=True)
class _Position:
    """How far a replica's log was read.

    Attributes:
        at: Time of the last line. Several lines may have it: its resolution is a millisecond.
        lines: Number of lines with this time that were read.
    """

    at: float = 0.0
    lines: int = 0

    def passed(self, line: LogLine) -> None:
        if line.at > self.at:
            self.at, self.lines = line.at, 0
        self.lines += 1


async def read(
    engine: Engine, replicas: Iterable[ReplicaId], *, since: float, tail: int | None
) -> AsyncGenerator[tuple[ReplicaId, LogLine], None]:
    """Yield the existing log lines of replicas, sorted by time.

    Args:
        engine: Where the replicas run.
        replicas: Their ids. Replicas without a log are ignored.
        since: Earliest time, in seconds since the epoch.
        tail: Yield only this many of the last lines; None yields all.
    """
    lines = _merged(engine, replicas, since)
    async with contextlib.aclosing(lines):
        if tail is None:
            async for item in lines:
                yield item
            return
        last: deque[tuple[ReplicaId, LogLine]] = deque(maxlen=tail)
        async for item in lines:
            last.append(item)
    for item in last:
        yield item


async def _merged(
    engine: Engine, replicas: Iterable[ReplicaId], since: float
) -> AsyncGenerator[tuple[ReplicaId, LogLine], None]:
    async with contextlib.AsyncExitStack() as open_logs:
        heads: dict[ReplicaId, tuple[LogLine, AsyncIterator[LogLine]]] = {}
        for replica in replicas:
            log = engine.logs(replica, since=since)
            await open_logs.enter_async_context(contextlib.aclosing(log))
            with contextlib.suppress(ReplicaUnknown, StopAsyncIteration):
                heads[replica] = (await anext(log), log)
        while heads:
            replica = min(heads, key=lambda id_: heads[id_][0].at)
            line, rest = heads[replica]
            yield replica, line
            try:
                heads[replica] = (await anext(rest), rest)
            except StopAsyncIteration:
                del heads[replica]


async def follow(
    engine: Engine,
    replicas: Callable[[], Iterable[ReplicaId]],
    news: Callable[[], Awaitable[None]],
    *,
    since: float,
    tail: int | None,
) -> AsyncGenerator[ReplicaLine, None]:
    """Yield existing log lines, then new ones, also of replicas that start meanwhile, until closed.

    Args:
        engine: Where the replicas run.
        replicas: Returns the ids of the current replicas.
        news: Waits until the replicas may have changed.
        since: Earliest time, in seconds since the epoch.
        tail: Yield only this many of the last existing lines; None yields all.
    """
    known = tuple(replicas())
    last = {replica: _Position(since) for replica in known}
    async with contextlib.aclosing(read(engine, known, since=since, tail=None)) as lines:
        held: deque[ReplicaLine] = deque(maxlen=tail)
        async for replica, line in lines:
            last[replica].passed(line)
            if tail is None:
                yield ReplicaLine(line.at, replica, line.text)
            else:
                held.append(ReplicaLine(line.at, replica, line.text))
    for existing in held:
        yield existing
    queue: asyncio.Queue[ReplicaLine] = asyncio.Queue(HELD)
    async with _Followers(engine, queue) as followers:
        for replica in known:
            followers.add(replica, last[replica])
        following = asyncio.ensure_future(_follow_new(followers, replicas, news, since))
        try:
            while True:
                yield await queue.get()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _follow_new(
    followers: _Followers,
    replicas: Callable[[], Iterable[ReplicaId]],
    news: Callable[[], Awaitable[None]],
    since: float,
) -> None:
    while True:
        for replica in replicas():
            followers.add(replica, _Position(since))
        await news()


class _Followers:
    """Follows the logs of replicas, each in a task."""

    def __init__(self, engine: Engine, queue: asyncio.Queue[ReplicaLine]) -> None:
        self._engine = engine
        self._queue = queue
        self._tasks: dict[ReplicaId, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def add(self, replica: ReplicaId, last: _Position) -> None:
        """Follow the log of a replica, unless it is followed already.

        Args:
            replica: The replica's id.
            last: How far its log was read.
        """
        if replica not in self._tasks:
            work = self._follow(replica, last)
            self._tasks[replica] = asyncio.get_running_loop().create_task(work)

    async def _follow(self, replica: ReplicaId, last: _Position) -> None:
        while True:
            try:
                await self._read_on(replica, last)
            except ReplicaUnknown:
                del self._tasks[replica]  # the engine has not started it yet
            except SupervisorError:
                await asyncio.sleep(RETRY)
                continue
            return

    async def _read_on(self, replica: ReplicaId, last: _Position) -> None:
        begin, again = last.at, last.lines
        async with contextlib.aclosing(
            self._engine.logs(replica, since=begin, follow=True)
        ) as lines:
            async for line in lines:
                if again and line.at == begin:
                    again -= 1
                    continue
                last.passed(line)
                await self._queue.put(ReplicaLine(line.at, replica, line.text))
