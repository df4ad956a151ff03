"""A supervisor inside a process that also does other work, such as ``run`` and ``serve``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from dcf.errors import ProcessUnknown
from dcf.model.log import LogLine
from dcf.supervision.descendants import kill_at_end
from dcf.supervision.process_messages import ExitRecord, ProcessEvent, ProcessSpec, ProcessStatus
from dcf.supervision.protocol import event_of, read_reply
from dcf.supervision.state_file import MARK, StateFile
from dcf.supervision.supervisor import Supervisor

GRACE = 0.5
"""Seconds at the end between asking a process to end and killing it."""

POLL = 0.05
"""Seconds between two checks for ended processes, on systems without process descriptors."""


class EmbeddedSupervisor:
    """Runs processes for one event loop. Its methods are those of a ``SupervisorClient``.

    This process has other children too and cannot recognize orphans, so it does not adopt them.
    The descendants of a run are found by their mark (``dcf.supervision.descendants``). If this
    process is killed, another small process kills them.

    Attributes:
        path: Folder for the record of what runs. It identifies the supervisor.
    """

    def __init__(self, state: Path) -> None:
        """Create a supervisor without processes. Processes print to this process's standard error.

        Args:
            state: An existing folder of its own.
        """
        self.path = state
        record = record_of(state)
        self._mark = record.mark
        self._supervisor = Supervisor(None, record, has_orphans=False)
        self._loop = asyncio.get_running_loop()
        self._descriptors: set[int] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Accept starts for as long as the context is open; then end every process."""
        guard = self._start_guard()
        poll = None if _has_descriptors() else self._loop.create_task(self._poll())
        try:
            yield
        finally:
            await self._supervisor.shutdown(GRACE)
            for descriptor in tuple(self._descriptors):
                self._close(descriptor)
            if poll is not None:
                poll.cancel()
                await asyncio.gather(poll, return_exceptions=True)
            # All descendants have been killed.
            guard.kill()
            guard.communicate()

    async def start(self, process: ProcessSpec, inherited: Sequence[int] = ()) -> ProcessStatus:
        """Start a process. Do nothing if its name is known, in any state.

        Args:
            process: What to run.
            inherited: Further descriptors that stay open in the process, with the same numbers.

        Raises:
            ProcessNotStarted: If the program cannot be started.
        """
        status = await self._supervisor.start(process, inherited)
        if sys.platform == "linux" and status.pid and _has_descriptors():
            descriptor = os.pidfd_open(status.pid)
            self._descriptors.add(descriptor)
            self._loop.add_reader(descriptor, self._has_ended, descriptor)
        return status

    async def stop(self, name: str, grace: float) -> ExitRecord | None:
        """End a process and forget it. Do nothing for an unknown name.

        Args:
            name: The process.
            grace: Seconds between asking and killing.
        """
        return await self._supervisor.stop(name, grace)

    async def list(self) -> tuple[ProcessStatus, ...]:
        """Return every process."""
        return tuple(self._supervisor.statuses())

    async def observe(self) -> AsyncGenerator[tuple[ProcessStatus, ...] | ProcessEvent, None]:
        """Yield the statuses of all processes at once, then every event."""
        with self._supervisor.observers.subscribe() as events:
            yield tuple(self._supervisor.statuses())
            while data := await events.take():
                for line in data.splitlines(keepends=True):
                    item = read_reply(line)
                    if item is not None:
                        yield event_of(item["event"])

    async def logs(
        self, name: str, *, since: float = 0.0, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """Yield nothing: processes print to this process's standard error.

        Raises:
            ProcessUnknown: Always.
        """
        del since, follow
        raise ProcessUnknown(f"no log of {name!r}: it prints to standard error")
        yield  # the type checker must see a generator

    def _start_guard(self) -> subprocess.Popen[bytes]:
        command = kill_at_end(MARK, self._mark)
        # A session of its own, so that Ctrl-C does not reach it.
        return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)

    def _has_ended(self, descriptor: int) -> None:
        self._close(descriptor)
        self._supervisor.reap()

    def _close(self, descriptor: int) -> None:
        self._descriptors.discard(descriptor)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)

    async def _poll(self) -> None:
        while True:
            self._supervisor.reap()
            await asyncio.sleep(POLL)


def record_of(state: Path) -> StateFile:
    """Return the record of what runs, in a supervisor's state folder."""
    return StateFile(state / "processes.json")


def _has_descriptors() -> bool:
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
