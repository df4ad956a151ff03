"""The parent of other processes: it starts, stops and reaps them, and publishes their events."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from dcf.errors import ProcessNotStarted, ProcessUnknown, SupervisorError
from dcf.supervision import descendants
from dcf.supervision.broadcast import Broadcast
from dcf.supervision.identity import identify
from dcf.supervision.process import Process
from dcf.supervision.process_log import ProcessLog, file_of
from dcf.supervision.process_messages import (
    ExitRecord,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
)
from dcf.supervision.protocol import item_line, members_of
from dcf.supervision.state_file import StateFile
from dcf.supervision.states import ENDED, ProcessState

logger = logging.getLogger("dcf.supervision")

LOGS_KEPT = 100
"""Number of logs of stopped processes to keep: enough to investigate recent failures."""


class Supervisor:
    """All processes by name.

    Attributes:
        observers: Readers of all events, which receive them as lines of a reply.
        finished: Set when everything was shut down.
    """

    def __init__(self, logs: Path | None, record: StateFile, *, has_orphans: bool = True) -> None:
        """Create a supervisor without processes.

        Args:
            logs: Folder for the processes' logs; None leaves their output on this process's
                standard error.
            record: Records the running processes for the next supervisor.
            has_orphans: Whether this process has no children but the supervisor's processes and
                the orphans that it adopts. Only then can it recognize orphans.
        """
        self.observers = Broadcast()
        self.finished = asyncio.Event()
        self._logs = logs
        self._record = record
        self._processes: dict[str, Process] = {}
        self._is_closing = False
        self._has_orphans = has_orphans
        self._has_killed_strays = False

    async def start(self, spec: ProcessSpec, inherited: Sequence[int] = ()) -> ProcessStatus:
        """Start a process, unless its name is known. If that process is stopping, wait for its end.

        Args:
            spec: What to run.
            inherited: Further descriptors that stay open in the process, with the same numbers.

        Raises:
            ProcessNotStarted: If the program cannot be started.
            SupervisorError: If the supervisor is shutting down.
        """
        while (known := self._processes.get(spec.name)) is not None:
            if known.state is not ProcessState.STOPPING:
                return known.status()
            await known.gone.wait()
        if self._is_closing:
            raise SupervisorError("the supervisor is shutting down")
        log = ProcessLog(self._logs / spec.name, spec.log) if self._logs is not None else None
        process = Process(spec, log, self._record.mark, self._handle, inherited)
        try:
            process.start()
        except (OSError, ValueError) as error:
            if log is not None:
                log.close()
            raise ProcessNotStarted(f"{spec.name} cannot be started: {error}") from error
        self._processes[spec.name] = process
        return process.status()

    async def stop(self, name: str, grace: float) -> ExitRecord | None:
        """Stop a process and free its name, but keep its log. Do nothing if the name is unknown.

        Args:
            name: The process.
            grace: Seconds from SIGTERM to SIGKILL.

        Returns:
            How its latest run ended.
        """
        process = self._processes.get(name)
        return None if process is None else await process.stop(grace)

    def statuses(self) -> list[ProcessStatus]:
        """Return the statuses of all processes, in the order of their first starts."""
        return [process.status() for process in self._processes.values()]

    def log_of(self, name: str) -> tuple[Path, Broadcast | None]:
        """Return the log of a process, which may have been stopped.

        Returns:
            The log's folder, and the broadcast of its new lines; None if the process has ended.

        Raises:
            ProcessUnknown: If the process never existed, or its log was removed.
        """
        process = self._processes.get(name)
        if self._logs is None or (process is None and not (self._logs / name).is_dir()):
            raise ProcessUnknown(f"unknown process {name!r}")
        folder = self._logs / name
        if process is None or process.log is None or process.state in ENDED:
            return folder, None
        return folder, process.log.followers

    def reap(self) -> None:
        """Reap every process that has ended. Call this at SIGCHLD.

        A child that the supervisor did not start is an orphan: its parent has ended, and the
        supervisor has adopted it. An orphan that does not descend from a living run is killed.
        """
        # When an orphan ends, its children become children of this process.
        has_ended = self._has_killed_strays
        while True:
            for process in list(self._processes.values()):
                try:
                    has_ended |= process.reap()
                except Exception:
                    logger.exception("%s: a defect; other processes continue", process.spec.name)
            ended = descendants.ended_child() if self._has_orphans else None
            if ended is None:
                break
            if ended not in self._pids():
                os.waitpid(ended, 0)
        if has_ended and self._has_orphans:
            strays = self._is_stray(descendants.children())
            self._has_killed_strays = descendants.kill_all(strays) > 0

    def _pids(self) -> set[int]:
        return {process.pid for process in self._processes.values()}

    def _is_stray(self, children: Collection[int]) -> Callable[[int], bool]:
        strays = set(children) - self._pids()
        living = [process for process in self._processes.values() if process.pid]
        return lambda pid: pid in strays and not any(process.owns(pid) for process in living)

    async def shutdown(self, grace: float) -> None:
        """Stop all processes stage by stage, the lowest first. No process can be started any more.

        Args:
            grace: Seconds for each stage.
        """
        self._is_closing = True
        while self._processes:
            stage = min(process.spec.stage for process in self._processes.values())
            names = [
                name for name, process in self._processes.items() if process.spec.stage == stage
            ]
            await asyncio.gather(*(self.stop(name, grace) for name in names))
        self.observers.end()
        self.finished.set()

    async def kill(self) -> None:
        """Kill all processes at once."""
        self._is_closing = True
        await asyncio.gather(*(self.stop(name, 0) for name in list(self._processes)))

    def _handle(self, event: ProcessEvent) -> None:
        name = event.name
        match event.kind:
            case ProcessEventKind.STARTED:
                logger.info("%s started, pid %d", name, event.pid)
                if (identity := identify(event.pid)) is not None:
                    self._record.add(name, identity)
            case ProcessEventKind.EXITED if event.exit is not None:
                level = logging.INFO if event.exit.asked else logging.WARNING
                logger.log(level, "%s ended: %s", name, event.exit.reason)
                self._record.remove(name)
            case ProcessEventKind.RESTARTING:
                logger.info("%s will be restarted in %.3g s", name, event.delay)
            case ProcessEventKind.GAVE_UP:
                logger.error("%s ended too often in a row and will not be restarted", name)
            case ProcessEventKind.FORGOTTEN:
                del self._processes[name]
                self._remove_old_logs()
            case _:
                pass
        if self.observers.has_readers:
            self.observers.publish(item_line({"event": members_of(event)}))

    def _remove_old_logs(self) -> None:
        if self._logs is None:
            return

        def age(folder: Path) -> float:
            try:
                return file_of(folder, 0).stat().st_mtime
            except OSError:
                return 0.0

        try:
            unused = [
                folder for folder in self._logs.iterdir() if folder.name not in self._processes
            ]
        except OSError:
            # The folder was removed. The processes must be stopped nevertheless.
            return
        if len(unused) > LOGS_KEPT:
            for folder in sorted(unused, key=age)[:-LOGS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)
