"""One replica as a process of this machine: a watcher, started, made ready, stopped."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dcf.errors import DcfError, ReplicaExited, StartTimeout
from dcf.model.replica import ReplicaState
from dcf.protocol.report import Report, ReportReader
from dcf.settings import RESERVED_PREFIX, WatcherSettings
from dcf.supervision.child import Child, Exit

FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables that would lead the replica's Python to packages that are not the function's."""

EARLY = frozenset({
    "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCOERCECLOCALE", "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING", "PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONNODEBUGRANGES",
    "PYTHONNOUSERSITE", "PYTHONOPTIMIZE", "PYTHONPERFSUPPORT", "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONVERBOSE", "PYTHONWARNINGS",
    "PYTHON_COLORS", "PYTHON_CPU_COUNT", "PYTHON_GIL",
})  # fmt: skip
"""The author's variables that Python reads at its start and that do not lead it to code. All other
``PYTHON`` variables are set only once the limits hold."""

LATE = ("PYTHON", "LD_", "DYLD_", "GCONV_PATH", "LOCPATH", "OPENSSL_")
"""Prefixes of variables that lead Python, or the libraries it starts with, to code."""

START = (
    "import sys; sys.path += sys.argv[3:]; from dcf.watcher.__main__ import main; sys.exit(main())"
)
"""Runs the watcher in an interpreter without ``site``. The arguments are the package folders."""

KEPT = 64 * 1024**2
"""Bytes of free memory that glibc keeps for the next body instead of giving them back. Left to
itself it gives those of each body or array of a megabyte back to the system and asks for them anew,
page by page: two fifths of the time of such a call. It is what glibc comes to by itself once a
block of 32 MiB was freed. Why: docs/decisions/0026-memory-of-replicas.md."""

KEPT_OF_LIMIT = 8
"""The part of a memory limit that may be kept so: each thread keeps its own."""

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


def watcher_command(python: Path) -> list[str]:
    """Return the command line of a watcher.

    The interpreter starts without ``site`` (``-S``) and without the function's folder on its import
    path (``-P``): both could run the author's code before the limits hold. The last arguments are
    the folders of the packages.

    Args:
        python: The interpreter of an environment.
    """
    prefix = python.parent.parent
    packages = next(iter(sorted(prefix.glob("lib/python3*/site-packages"))), None)
    if packages is None or not (prefix / "pyvenv.cfg").exists():
        return [str(python), "-m", "dcf.watcher"]
    folders = [packages]
    if not (packages / "dcf").exists():
        # In a development environment DCF is installed as a link, not as a copy.
        folders.append(Path(__file__).parents[3])
    return [str(python), "-S", "-P", "-c", START, "-m", "dcf.watcher", *map(str, folders)]


def replica_environment(
    settings: WatcherSettings,
    environment: Mapping[str, str],
    extra: Mapping[str, str],
    base: Mapping[str, str],
    *,
    memory: int = 0,
) -> dict[str, str]:
    """The whole environment of a replica's process.

    Args:
        settings: What the watcher serves, and where.
        environment: The author's variables.
        extra: Variables of the framework's own.
        base: The environment on which the others are laid.
        memory: Bytes that the replica may have; 0 is no limit.
    """
    kept = {
        name: value
        for name, value in base.items()
        if name not in FOREIGN and not name.startswith(RESERVED_PREFIX)
    }
    late = {name for name in environment if name.startswith(LATE) and name not in EARLY}
    if late:
        text = json.dumps({name: environment[name] for name in late})
        settings = replace(settings, late_variables=text)
    early = {name: value for name, value in environment.items() if name not in late}
    own = {**extra, **settings.to_mapping(), "PYTHONUNBUFFERED": "1"}
    return {**_allocator(memory), **kept, **early, **own}


def _allocator(limit: int) -> dict[str, str]:
    """Variables of glibc's allocator (``mallopt(3)``); what the user has set comes before them."""
    kept = min(KEPT, limit // KEPT_OF_LIMIT) if limit else KEPT
    # Both: either turns off that glibc learns them. Twice the one is the other there, too.
    return {"MALLOC_MMAP_THRESHOLD_": str(kept // 2), "MALLOC_TRIM_THRESHOLD_": str(kept)}


class LocalReplica:
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
