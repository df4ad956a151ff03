"""The messages between the supervisor and its clients: processes, events, requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dcf.supervision.liveness import Probe
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.states import ProcessState


@dataclass(frozen=True, slots=True)
class LogBound:
    """How much of a process's log to keep.

    Attributes:
        file_bytes: Maximum bytes of a file. 8 MiB: some 100,000 lines.
        files: Maximum number of files, including the current one; the oldest file is removed. 3: at
            least two full files.
    """

    file_bytes: int = 8 * 1024 * 1024
    files: int = 3


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to run.

    Attributes:
        name: Unique among the supervisor's processes.
        command: Program and arguments; visible to all users of the machine.
        env: The complete environment. It may hold secrets, so it is never stored or logged.
        cwd: Working directory.
        restart: When to restart the process after an exit; None never restarts it.
        lifeline: Whether standard input is a pipe that ends when the supervisor ends; otherwise it
            is empty.
        reports: Whether standard output carries reports; otherwise it goes to the log.
        sockets: Paths of Unix sockets that the process creates. Sockets that a killed run left
            behind are removed before each run and at the end.
        stage: Order of the shutdown: lower stages end before higher ones.
        log: How much of its log to keep.
        note: A text that a client stores with the process; it must not be secret.
        probe: How to check that the process still does its work; None disables the check.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    restart: RestartPolicy | None = None
    lifeline: bool = False
    reports: bool = False
    sockets: tuple[str, ...] = ()
    stage: int = 0
    log: LogBound = field(default_factory=LogBound)
    note: str = ""
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How one run of a process ended.

    Attributes:
        code: The exit code; the negative number of the signal if a signal killed the run; 127 if it
            could not be restarted.
        at: Seconds since 1970.
        reason: The code in words.
        report: The last line of the run's reports; "" without reports.
        asked: Whether the supervisor had stopped the run.
    """

    code: int
    at: float
    reason: str
    report: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The status of a process.

    Attributes:
        name: The process's name.
        state: The process's state.
        pid: Process id of the current run; 0 if it does not run.
        since: Start of the latest run, in seconds since 1970.
        runs: Number of runs.
        reports: The first and the latest report lines of the latest run, oldest first.
        exit: How the last finished run ended.
        note: The client's note.
    """

    name: str
    state: ProcessState
    pid: int = 0
    since: float = 0.0
    runs: int = 0
    reports: tuple[str, ...] = ()
    exit: ExitRecord | None = None
    note: str = ""


class ProcessEventKind(StrEnum):
    """What happened to a process."""

    STARTED = "started"
    """A run began."""
    REPORTED = "reported"
    """The process wrote a line of its reports."""
    EXITED = "exited"
    """The run ended; ``exit`` has the details."""
    RESTARTING = "restarting"
    """The process will be restarted after ``delay``."""
    GAVE_UP = "gave up"
    """The process is in a crash loop and will not be restarted."""
    FORGOTTEN = "forgotten"
    """The process was stopped, and its name is free."""


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """An event of a process.

    Attributes:
        kind: What happened.
        name: The process's name.
        at: Seconds since 1970.
        pid: With STARTED, the process id; otherwise 0.
        report: With REPORTED, the line; otherwise "".
        exit: With EXITED, how the run ended.
        delay: With RESTARTING, seconds until the next start.
        note: With STARTED, the client's note.
    """

    kind: ProcessEventKind
    name: str
    at: float
    pid: int = 0
    report: str = ""
    exit: ExitRecord | None = None
    delay: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process; do nothing if the name is known. Item: its status."""

    process: ProcessSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a process within ``grace`` seconds, and free its name. Item: its exit, if it ran."""

    name: str
    grace: float


@dataclass(frozen=True, slots=True)
class List:
    """List all processes. Items: their statuses."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Observe all processes. Items: their statuses, the number of statuses, then events."""


@dataclass(frozen=True, slots=True)
class Logs:
    """Read the log of a process. Items: lines.

    Attributes:
        name: The process.
        since: Start of the lines to read, in seconds since 1970.
        tail: Maximum number of existing lines: the last ones. None reads all.
        follow: Whether to continue with new lines until the process has ended.
    """

    name: str
    since: float = 0.0
    tail: int | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Shut down all processes, each stage within ``grace`` seconds, and the supervisor. No item."""

    grace: float


Request = Start | Stop | List | Observe | Logs | Shutdown
