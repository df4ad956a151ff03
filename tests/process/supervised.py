"""Real supervisors for tests."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dcf.errors import SupervisorUnreachable
from dcf.supervision.process_messages import (
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
)
from dcf.supervision.supervisor_client import SupervisorClient, socket_of


@dataclass
class Booted:
    process: subprocess.Popen[bytes]
    client: SupervisorClient
    state: Path

    def kill(self) -> None:
        """Kill it like ``kill -9``."""
        self.process.kill()
        self.process.wait()

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def memory(self) -> int:
        """Return the memory in use, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def command(state: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "dcf.supervision", "--state", str(state), *more]


def launch(state: Path, log: Path | None = None) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as files:
        errors = files.enter_context(log.open("ab")) if log else None
        return subprocess.Popen(command(state), stderr=errors)


@contextlib.asynccontextmanager
async def booted(state: Path, *, log: Path | None = None) -> AsyncGenerator[Booted, None]:
    """Run a supervisor that answers; after the block, shut it down unless it has ended."""
    process = launch(state, log)
    client = SupervisorClient(socket_of(state))
    try:
        while True:
            with contextlib.suppress(SupervisorUnreachable):
                await client.list()
                break
            assert process.poll() is None
            await asyncio.sleep(0.01)
        yield Booted(process, client, state)
        if process.poll() is None:
            await client.shutdown(2)
            assert process.wait(5) == 0
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def python(name: str, source: str, **options) -> ProcessSpec:
    """Return the spec of a process that runs ``source``."""
    return ProcessSpec(name, (sys.executable, "-c", source), dict(os.environ), "/", **options)


def sleeper(name: str, **options) -> ProcessSpec:
    return ProcessSpec(name, ("sleep", "600"), dict(os.environ), "/", **options)


async def status(client: SupervisorClient, name: str) -> ProcessStatus:
    (process,) = [process for process in await client.list() if process.name == name]
    return process


async def until(holds: Callable[[], Awaitable[bool]], patience: float = 10) -> None:
    async with asyncio.timeout(patience):
        while not await holds():  # noqa: ASYNC110  the condition depends on another process
            await asyncio.sleep(0.01)


async def gone(pid: int, patience: float = 10) -> None:
    """Wait until a process has ended; it need not be reaped."""

    async def holds() -> bool:
        return not alive(pid)

    await until(holds, patience)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Watch:
    """Collects events during the block."""

    def __init__(self, client: SupervisorClient) -> None:
        self._client = client
        self.events: list[ProcessEvent] = []
        self.first: tuple[ProcessStatus, ...] = ()

    async def __aenter__(self) -> Self:
        self._stream = self._client.observe()
        first = await anext(self._stream)
        assert isinstance(first, tuple)
        self.first = first
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    async def until(self, kind: ProcessEventKind, name: str) -> ProcessEvent:
        async with asyncio.timeout(10):
            async for item in self._stream:
                assert isinstance(item, ProcessEvent)
                self.events.append(item)
                if (item.kind, item.name) == (kind, name):
                    return item
        raise AssertionError("the stream ended")


def interrupt(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Send a signal; return the exit code."""
    process.send_signal(number)
    return process.wait(10)


def timed() -> Callable[[], float]:
    begin = time.monotonic()
    return lambda: time.monotonic() - begin
