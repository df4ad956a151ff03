"""Liveness probes: a process is polled, and the loop that does its work answers.

A process may exist but do nothing, because it is stopped, deadlocked or waits for a disk. Its owner
polls it through the loop that does its work, and ends it after a period without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

LATE = 2.0
"""If a probe takes more than this many intervals, the prober itself was stopped or its machine was
suspended. Such a probe says nothing about the process."""


EARLY = 0.25
"""Seconds between two probes before the first answer of a run."""


@dataclass(frozen=True, slots=True)
class LivenessRule:
    """When a process counts as hung.

    Attributes:
        interval: Seconds between two probes, and the timeout of each. 2: a process misses five in a
            row within 10 s.
        silence: Seconds of unanswered probes in a row after which the process is ended. 10: longer
            than any pause of a machine that is merely busy.
        start: Seconds from the start of a run to its first answer. 60: a cold disk.
    """

    interval: float = 2.0
    silence: float = 10.0
    start: float = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """How to probe a process.

    Attributes:
        socket: Path of the Unix socket on which it answers.
        request: Text to send after connecting; "" sends nothing.
        rule: When it counts as hung.
    """

    socket: str
    request: str = ""
    rule: LivenessRule = field(default_factory=LivenessRule)


def alive_socket(socket: Path) -> Path:
    """Return the path of the liveness socket of a process that serves on ``socket``."""
    return socket.with_suffix(".alive")


async def answered(probe: Probe) -> None:
    """Probe a process once.

    Any byte is an answer, and so is an orderly close: both need the process's loop.

    Raises:
        OSError: If no process listens, or the connection breaks.
    """
    reader, writer = await asyncio.open_unix_connection(probe.socket)
    try:
        writer.write(probe.request.encode())
        await reader.read(1)
    finally:
        writer.transport.abort()


async def until_silent(
    ask: Callable[[], Awaitable[None]],
    rule: LivenessRule,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Probe a process until it counts as hung.

    A probe counts for its interval at most, however long a suspended machine or prober stood still.
    Probes are frequent until the first answer, because the longer limit of a start ends with it.

    Args:
        ask: Returns when the process has answered; raises OSError if it cannot.
        rule: When it counts as hung.
        clock: Monotonic seconds.

    Returns:
        The reason, as a part of a sentence.
    """
    silent, has_answered = 0.0, False
    while True:
        started = clock()
        pause = rule.interval if has_answered else min(EARLY, rule.interval)
        try:
            async with asyncio.timeout(rule.interval):
                await ask()
        except OSError:  # includes a timeout
            took = clock() - started
            if took < LATE * rule.interval:
                silent += max(pause, min(took, rule.interval))
        else:
            silent, has_answered, pause = 0.0, True, rule.interval
        limit = rule.silence if has_answered else rule.start
        if round(silent, 6) >= limit:  # a sum of fractions
            verb = "did not answer" if has_answered else "has not begun to answer"
            return f"it {verb} for {limit:g} s"
        await asyncio.sleep(max(0.0, started + pause - clock()))


@contextlib.asynccontextmanager
async def answering(path: Path, check: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Answer liveness probes of this process while the context is open.

    Args:
        path: Path of the socket, in a private folder; an existing file is replaced.
        check: Returns as soon as the process has done a piece of its work.

    Raises:
        OSError: If the socket cannot be created.
    """

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await check()
            writer.write(b"1")
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name, in memory
    server = await asyncio.start_unix_server(answer, path)
    path.chmod(0o600)  # noqa: ASYNC240  as above
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  as above
