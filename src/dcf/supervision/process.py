"""A supervised process: its runs, its pipes, its state."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from dcf.supervision.descendants import DescendantMark
from dcf.supervision.exit_text import Exit
from dcf.supervision.liveness import answered, until_silent
from dcf.supervision.pipes import Pipes
from dcf.supervision.policy import Run, delay_after, remembered
from dcf.supervision.process_log import ProcessLog
from dcf.supervision.process_messages import (
    ExitRecord,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
)
from dcf.supervision.reports import Reports
from dcf.supervision.state_file import MARK
from dcf.supervision.states import ProcessState, follows

LAST_WORDS = 0.5
"""Seconds for a hung run to log its stacks."""

CANNOT_START = 127
"""Exit code of a run that could not begin, as in shells."""


class Process:
    """All runs of one name, and their state.

    Attributes:
        spec: What to run.
        log: The process's log; None if its output stays on this process's standard error.
        state: The process's state.
        gone: Set when the process was stopped and everything is cleaned up.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        log: ProcessLog | None,
        supervisor: str,
        notify: Callable[[ProcessEvent], None],
        inherited: Sequence[int] = (),
    ) -> None:
        """Create a process, without starting it.

        Args:
            spec: What to run.
            log: Receives the process's output; None leaves it on this process's standard error.
            supervisor: The supervisor's mark.
            notify: Called with every event.
            inherited: Further descriptors that stay open in the process, with the same numbers.
        """
        self.spec = spec
        self.log = log
        self.state = ProcessState.WAITING
        self.gone = asyncio.Event()
        self._supervisor = supervisor
        self._notify = notify
        self._inherited = tuple(inherited)
        self._loop = asyncio.get_running_loop()
        self._popen: subprocess.Popen[bytes] | None = None
        self._pipes = Pipes()
        self._reports = Reports(self._report)
        self._watch: asyncio.Task[None] | None = None
        self._silence = ""
        policy = spec.restart
        self._history: deque[Run] = deque(maxlen=remembered(policy) if policy else 1)
        self._descent: DescendantMark | None = None
        self._since = 0.0
        self._started = 0.0
        self._runs = 0
        self._exit: ExitRecord | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._ended.set()

    def start(self) -> None:
        """Start a run.

        Raises:
            OSError: If the program cannot be started.
            ValueError: If an argument or a variable contains NUL.
        """
        _remove_sockets(self.spec.sockets)
        descent = DescendantMark(self._supervisor)
        with contextlib.ExitStack() as reading, contextlib.ExitStack() as writing:
            log_read, log_write = (
                _pipe(reading, writing) if self.log is not None else (None, sys.stderr.fileno())
            )
            report_read, report_write = (
                _pipe(reading, writing) if self.spec.reports else (None, log_write)
            )
            popen = subprocess.Popen(
                self.spec.command,
                env={**self.spec.env, MARK: self._supervisor, **descent.variables},
                cwd=self.spec.cwd,
                stdin=subprocess.PIPE if self.spec.lifeline else subprocess.DEVNULL,
                stdout=report_write,
                stderr=log_write,
                pass_fds=self._inherited,
                start_new_session=True,
                bufsize=0,
            )
            reading.pop_all()
        descent.begin(popen.pid)
        self._descent = descent
        self._transition(ProcessState.RUNNING)
        self._popen = popen
        self._ended.clear()
        self._reports = Reports(self._report)
        self._silence = ""
        self._runs += 1
        self._since, self._started = time.time(), self._loop.time()
        if log_read is not None and self.log is not None:
            self._pipes.add(log_read, self.log.feed)
        if report_read is not None:
            self._pipes.add(report_read, self._reports.feed)
        if self.spec.probe is not None:
            self._watch = self._loop.create_task(self._end_if_silent(popen))
        self._emit(ProcessEventKind.STARTED, pid=popen.pid, note=self.spec.note)

    def status(self) -> ProcessStatus:
        """Return the status of the process."""
        return ProcessStatus(
            name=self.spec.name,
            state=self.state,
            pid=self.pid,
            since=self._since,
            runs=self._runs,
            reports=self._reports.lines,
            exit=self._exit,
            note=self.spec.note,
        )

    @property
    def pid(self) -> int:
        """The process id of the current run; 0 without one."""
        return self._popen.pid if self._popen else 0

    def owns(self, pid: int) -> bool:
        """Return whether a process descends from the current run."""
        return self._popen is not None and self._descent is not None and self._descent.includes(pid)

    def reap(self) -> bool:
        """Reap the run if it has ended. Call this when any child process has ended.

        Returns:
            Whether the run has ended since the last call.
        """
        popen = self._popen
        if popen is None or not _has_ended(popen):
            return False
        # The kernel does not reuse the group's id before its leader is reaped.
        self._kill_group()
        code = popen.wait()
        if self._descent is not None:
            self._descent.kill()
        self._popen = None
        _remove_sockets(self.spec.sockets)
        if popen.stdin is not None:
            popen.stdin.close()
        self._pipes.close()
        if self.log is not None:
            self.log.end_of_run()
        self._reports.end()
        if self._watch is not None:
            self._watch.cancel()
        self._run_ended(
            code, f"{self._silence}: {Exit(code)}" if self._silence else str(Exit(code))
        )
        return True

    async def stop(self, grace: float) -> ExitRecord | None:
        """Stop the process for good: send SIGTERM, wait, then kill its whole group.

        May be called again, also while another call waits; the shortest grace applies.

        Args:
            grace: Seconds from SIGTERM to SIGKILL.

        Returns:
            How the latest run ended; None if there was no run.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._popen is not None:
            if self.state is ProcessState.RUNNING:
                self._transition(ProcessState.STOPPING)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(self._popen.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(grace):
                    await self._ended.wait()
            except TimeoutError:
                self.kill()
                await self._ended.wait()
        if self.state is not ProcessState.STOPPED:
            self._transition(ProcessState.STOPPED)
            if self.log is not None:
                self.log.close()
            self._emit(ProcessEventKind.FORGOTTEN)
            self.gone.set()
        return self._exit

    def kill(self) -> None:
        """Kill the current run and its whole group."""
        if self._popen is not None:
            self._kill_group()

    def _kill_group(self) -> None:
        assert self._popen is not None  # noqa: S101  both callers have checked it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def _run_ended(self, code: int, reason: str) -> None:
        asked = self.state is ProcessState.STOPPING
        last = self._reports.lines[-1] if self._reports.lines else ""
        self._exit = ExitRecord(code, time.time(), reason, last, asked)
        self._ended.set()
        self._emit(ProcessEventKind.EXITED, exit_=self._exit)
        if asked:
            return
        policy = self.spec.restart
        if policy is None:
            self._transition(ProcessState.EXITED)
            self._end_followers()
            return
        self._history.append(Run(self._started, self._loop.time()))
        delay = delay_after(self._history, policy)
        if delay is None:
            self._transition(ProcessState.CRASH_LOOP)
            self._end_followers()
            self._emit(ProcessEventKind.GAVE_UP)
            return
        if self.state is not ProcessState.WAITING:
            self._transition(ProcessState.WAITING)
        self._emit(ProcessEventKind.RESTARTING, delay=delay)
        self._timer = self._loop.call_later(delay, self._start_again)

    def _end_followers(self) -> None:
        if self.log is not None:
            self.log.followers.end()

    def _start_again(self) -> None:
        self._timer = None
        try:
            self.start()
        except (OSError, ValueError) as error:
            self._reports = Reports(self._report)
            self._started = self._loop.time()
            self._run_ended(CANNOT_START, f"the program cannot be started: {error}")

    def _report(self, text: str) -> None:
        self._emit(ProcessEventKind.REPORTED, report=text)

    async def _end_if_silent(self, popen: subprocess.Popen[bytes]) -> None:
        """Kill a run that hangs, and record the reason in its exit.

        SIGABRT comes first: it makes Python and Envoy log their stacks.
        """
        probe = self.spec.probe
        assert probe is not None  # noqa: S101  the caller has checked it
        reason = await until_silent(lambda: answered(probe), probe.rule)
        if self._popen is popen and self.state is ProcessState.RUNNING:
            self._silence = reason
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(popen.pid, signal.SIGABRT)
            await asyncio.sleep(LAST_WORDS)
            self.kill()

    def _emit(
        self,
        kind: ProcessEventKind,
        *,
        pid: int = 0,
        report: str = "",
        exit_: ExitRecord | None = None,
        delay: float = 0.0,
        note: str = "",
    ) -> None:
        self._notify(
            ProcessEvent(kind, self.spec.name, time.time(), pid, report, exit_, delay, note)
        )

    def _transition(self, state: ProcessState) -> None:
        if not follows(self.state, state):
            raise AssertionError(f"{self.spec.name}: {state} cannot follow {self.state}")
        self.state = state


def _remove_sockets(paths: tuple[str, ...]) -> None:
    """Remove the sockets that a killed process left behind. Other files stay."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                Path(path).unlink()


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Create a pipe. The stacks close its ends."""
    read, write = os.pipe()
    reading.callback(os.close, read)
    writing.callback(os.close, write)
    return read, write


def _has_ended(popen: subprocess.Popen[bytes]) -> bool:
    """Return whether a child process has ended, without reaping it if the system allows that."""
    if hasattr(os, "waitid"):
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, popen.pid, flags) is not None
    return popen.poll() is not None
