"""A watcher's process without an engine, for tests of the watcher."""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dcf.engines.local.watcher_process import replica_environment, watcher_command
from dcf.errors import DcfError, ReplicaExited, StartTimeout
from dcf.model.replica import ReplicaState
from dcf.protocol.report import Report, ReportReader
from dcf.settings import WatcherSettings
from dcf.supervision.exit_text import Exit
from process.child import Child

OVERDUE = 5.0
"""Seconds to wait for a replica that should have given its start up by itself; a constructor that
holds the interpreter's lock can keep it from that."""

DRAIN_TIMEOUT = 2.0
"""Seconds to wait for the word that a drain has begun; a handler that holds the interpreter's lock
can keep the replica from giving it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that is needed to start one replica here.

    Attributes:
        python: Interpreter of the function's environment.
        settings: What the watcher serves, and where.
        environment: The author's variables.
        extra: Variables of the framework's own, such as CUDA_VISIBLE_DEVICES.
        log: File descriptor for what the handler prints; None shares this process's standard error.
        listener: Descriptor of a listening socket to hand down, for ``fd:`` in the settings.
    """

    python: Path
    settings: WatcherSettings
    environment: Mapping[str, str]
    extra: Mapping[str, str]
    log: int | None = None
    listener: int | None = None


class WatcherProcess:
    """A watcher's process, from here."""

    def __init__(self, launch: Launch, base: Mapping[str, str]) -> None:
        """Starts the process.

        Args:
            launch: What to start.
            base: This process's environment, on which the author's variables are laid.

        Raises:
            ReplicaExited: When the interpreter cannot be started at all.
        """
        env = replica_environment(launch.settings, launch.environment, launch.extra, base)
        fds = () if launch.listener is None else (launch.listener,)
        self._reports = ReportReader()
        self._started = time.monotonic()
        self._start_timeout = launch.settings.start_timeout
        self._listen = launch.settings.listen
        try:
            self._child = Child(
                watcher_command(launch.python),
                env=env,
                cwd=Path(launch.settings.root),
                log=launch.log,
                pass_fds=fds,
            )
        except OSError as error:
            raise ReplicaExited(f"{launch.python} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The watcher's process id."""
        return self._child.pid

    def wait_ready(self) -> str:
        """Waits until the replica takes calls; ``start_timeout`` of its settings is the limit.

        Returns:
            The endpoint, for ``dcf.client``.

        Raises:
            StartError: What kept the handler from starting, with the author's traceback.
            ReplicaExited: When the process ended without a word.
            StartTimeout: When the time is up.
        """
        while True:
            left = self._started + self._start_timeout + OVERDUE - time.monotonic()
            line = self._child.read_line(max(0.0, left))
            if line is None:
                raise StartTimeout(
                    f"the handler was not ready within {self._start_timeout:g} s, and keeps its"
                    " replica from telling where it is"
                )
            if not line:
                exit_ = self._child.stop(grace=5.0)
                raise ReplicaExited(f"the replica ended before it was ready: {_explain(exit_)}")
            report = self._read(line)
            if report is None:
                continue
            if report.state is ReplicaState.READY:
                return report.endpoint
            if report.state is ReplicaState.FAILED:
                raise report.to_error()

    def poll(self) -> Exit | None:
        """How the replica ended, or None while it runs."""
        return self._child.poll()

    def wait(self, timeout: float) -> Exit | None:
        """Waits for the end, at most ``timeout`` seconds; None when it still runs then."""
        return self._child.wait(timeout)

    def why_lost(self, error: DcfError) -> DcfError:
        """``error``, or what is known better when the process has ended.

        A broken connection alone says little; the process's end says more.
        """
        exit_ = self._child.wait(1.0)
        if exit_ is None:
            return error
        return type(error)(f"the replica ended during the call: {_explain(exit_)}")

    def drain(self) -> None:
        """Asks the replica to end after its calls, and waits until it accepts no more."""
        self._child.terminate()
        until = time.monotonic() + DRAIN_TIMEOUT
        while line := self._child.read_line(max(0.0, until - time.monotonic())):
            try:
                report = self._read(line)
            except ReplicaExited:
                return  # do not wait for a process that sends invalid reports
            if report is not None and report.state is ReplicaState.DRAINING:
                return

    def _read(self, line: bytes) -> Report | None:
        """Return the report on a line; None for output of the interpreter during its start.

        Raises:
            ReplicaExited: If the line is not a report. The replica is ended.
        """
        try:
            return self._reports.read(line)
        except ValueError as error:
            self._child.stop(grace=0)
            raise ReplicaExited(f"the replica was ended: invalid report: {error}") from error

    def stop(self, grace: float) -> Exit:
        """Ends the replica and all its child processes for certain.

        Args:
            grace: Seconds for calls in flight.
        """
        exit_ = self._child.stop(grace)
        if self._listen.startswith("unix:"):
            Path(self._listen.removeprefix("unix:")).unlink(missing_ok=True)
        return exit_


def _explain(exit_: Exit) -> str:
    if exit_.code == -signal.SIGKILL:
        return f"{exit_}; the system does this when memory runs out"
    return str(exit_)
