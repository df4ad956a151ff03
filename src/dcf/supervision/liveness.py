"""Whether a process still does its work: asked again and again, answered by its own loop.

A process that was stopped, a deadlock, a disk that does not answer: the process exists, and nothing
happens. Whoever owns it asks through the loop that does the work and ends it after a silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

LATE = 2.0
"""Intervals after which the one who asks must have stood still itself: its machine was suspended,
or it was stopped. What it asked meanwhile says nothing about the other."""


@dataclass(frozen=True, slots=True)
class LivenessRule:
    """When a process counts as standing still.

    Attributes:
        interval: Seconds between two questions, and for each answer. 2: five in a row are missed
            within 10 s.
        silence: Seconds of questions in a row without an answer after which the process is ended.
            10: longer than any pause of a machine that is merely busy.
        start: Seconds that a run may take to its first answer. 60: a cold disk.
    """

    interval: float = 2.0
    silence: float = 10.0
    start: float = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """How a process is asked.

    Attributes:
        socket: Path of a Unix socket on which it answers.
        request: What is sent once connected; "" sends nothing.
        rule: When it counts as standing still.
    """

    socket: str
    request: str = ""
    rule: LivenessRule = field(default_factory=LivenessRule)


def alive_socket(socket: Path) -> Path:
    """Where a process that serves on ``socket`` is asked whether it works."""
    return socket.with_suffix(".alive")


async def answered(probe: Probe) -> None:
    """Ask once. Any byte is an answer, and so is an orderly end: both need the process's loop.

    Raises:
        OSError: If nobody listens, or the connection breaks.
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
    """Ask until the process counts as standing still.

    Questions are counted, not seconds: a machine that was suspended, or an asker that was stopped,
    adds at most one miss.

    Args:
        ask: Returns when the process has answered; raises OSError when it cannot.
        rule: When it counts so.
        clock: Seconds; goes only forward.

    Returns:
        The reason, as a part of a sentence.
    """
    missed, began = 0, False
    while True:
        asked = clock()
        try:
            async with asyncio.timeout(rule.interval):
                await ask()
        except OSError:  # a timeout included
            if clock() - asked < LATE * rule.interval:
                missed += 1
        else:
            missed, began = 0, True
        limit = rule.silence if began else rule.start
        if missed * rule.interval >= limit:
            return f"it {'did not answer' if began else 'has not begun to answer'} for {limit:g} s"
        await asyncio.sleep(max(0.0, asked + rule.interval - clock()))


@contextlib.asynccontextmanager
async def answering(path: Path, check: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Answer those who ask whether this process does its work, while the context is open.

    Args:
        path: The socket's, in a private folder; what lies there is replaced.
        check: Returns when the process has just done a piece of its work.

    Raises:
        OSError: If the socket cannot be made.
    """

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await check()
            writer.write(b"1")
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name, in memory
    server = await asyncio.start_unix_server(answer, path)
    path.chmod(0o600)  # noqa: ASYNC240  likewise
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  likewise
