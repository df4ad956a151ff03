"""The parent of other processes: what runs, what happened, who is told."""

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
"""Logs of processes that are no more: enough to look into what went wrong lately."""


class Supervisor:
    """All processes by name.

    Attributes:
        observers: Readers of everything that happens, as lines of a reply.
        finished: Set when all was shut down.
    """

    def __init__(self, logs: Path | None, record: StateFile, *, has_orphans: bool = True) -> None:
        """Create a supervisor without processes.

        Args:
            logs: Folder for their logs; None leaves them on this process's standard error.
            record: Keeps what runs for the next supervisor.
            has_orphans: Whether this process has no children but the supervisor's processes and
                the orphans that it adopts. Only then can it recognize orphans.
        """
        self.observers = Broadcast()
        self.finished = asyncio.Event()
        self._logs = logs
        self._record = record
        self._processes: dict[str, Process] = {}
        self._closing = False
        self._has_orphans = has_orphans
        self._killed_strays = False

    async def start(self, spec: ProcessSpec, inherited: Sequence[int] = ()) -> ProcessStatus:
        """Start a process, unless its name is known. Wait for one that is being stopped.

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
        if self._closing:
            raise SupervisorError("the supervisor is shutting down")
        log = ProcessLog(self._logs / spec.name, spec.log) if self._logs is not None else None
        process = Process(spec, log, self._record.mark, self._tell, inherited)
        try:
            process.start()
        except (OSError, ValueError) as error:
            if log is not None:
                log.close()
            raise ProcessNotStarted(f"{spec.name} cannot be started: {error}") from error
        self._processes[spec.name] = process
        return process.status()

    async def stop(self, name: str, grace: float) -> ExitRecord | None:
        """Ends a process and forgets it, its log excepted; does nothing for an unknown name.

        Args:
            name: Which.
            grace: Seconds between asking and killing.

        Returns:
            How its latest run ended.
        """
        process = self._processes.get(name)
        return None if process is None else await process.stop(grace)

    def statuses(self) -> list[ProcessStatus]:
        """Every process now, in the order of their first starts."""
        return [process.status() for process in self._processes.values()]

    def log_of(self, name: str) -> tuple[Path, Broadcast | None]:
        """Where the log of a process is, also of one that is no more.

        Returns:
            Its folder, and what tells its next lines; None if there will be none.

        Raises:
            ProcessUnknown: When there never was one, or its log was dropped.
        """
        process = self._processes.get(name)
        if self._logs is None or (process is None and not (self._logs / name).is_dir()):
            raise ProcessUnknown(f"there is no process {name!r}")
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
        has_ended = self._killed_strays
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
            self._killed_strays = descendants.kill_all(strays) > 0

    def _pids(self) -> set[int]:
        return {process.pid for process in self._processes.values()}

    def _is_stray(self, children: Collection[int]) -> Callable[[int], bool]:
        strays = set(children) - self._pids()
        living = [process for process in self._processes.values() if process.pid]
        return lambda pid: pid in strays and not any(process.owns(pid) for process in living)

    async def shutdown(self, grace: float) -> None:
        """Ends every process, a stage at a time, the lowest first; none is started any more.

        Args:
            grace: Seconds that each stage has.
        """
        self._closing = True
        while self._processes:
            stage = min(process.spec.stage for process in self._processes.values())
            names = [name for name, one in self._processes.items() if one.spec.stage == stage]
            await asyncio.gather(*(self.stop(name, grace) for name in names))
        self.observers.end()
        self.finished.set()

    async def kill(self) -> None:
        """Ends every process at once."""
        self._closing = True
        await asyncio.gather(*(self.stop(name, 0) for name in list(self._processes)))

    def _tell(self, event: ProcessEvent) -> None:
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
                logger.info("%s starts again in %.3g s", name, event.delay)
            case ProcessEventKind.GAVE_UP:
                logger.error("%s ended too often in a row and is not started again", name)
            case ProcessEventKind.FORGOTTEN:
                del self._processes[name]
                self._drop_old_logs()
            case _:
                pass
        if self.observers.heard:
            self.observers.tell(item_line({"event": members_of(event)}))

    def _drop_old_logs(self) -> None:
        if self._logs is None:
            return

        def age(folder: Path) -> float:
            try:
                return file_of(folder, 0).stat().st_mtime
            except OSError:
                return 0.0

        try:
            over = [one for one in self._logs.iterdir() if one.name not in self._processes]
        except OSError:
            # Somebody removed the folder; the processes are to be ended all the same.
            return
        if len(over) > LOGS_KEPT:
            for folder in sorted(over, key=age)[:-LOGS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)
