"""What the supervisor and its clients talk about: processes, what happens to them, requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dcf.supervision.liveness import Probe
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.states import ProcessState


@dataclass(frozen=True, slots=True)
class LogBound:
    """How much of a process's log is kept.

    Attributes:
        file_bytes: Bytes after which a new file is begun. 8 MiB: some 100,000 lines.
        files: Files in all, the current one included; the oldest goes. 3: at least two whole ones.
    """

    file_bytes: int = 8 * 1024 * 1024
    files: int = 3


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run, and how.

    Attributes:
        name: Unique among the supervisor's processes.
        command: Program and arguments; visible to all users of the machine.
        env: The whole environment. It may hold secrets: it is never written down or logged.
        cwd: Working directory.
        restart: When it is started again after an exit; None never does.
        lifeline: Whether standard input is a pipe whose end means that the supervisor is gone;
            else it is empty.
        reports: Whether standard output carries reports; else it goes to the log.
        sockets: Paths of Unix sockets that it makes: one that a killed run left behind is removed
            before each run, and at the end.
        stage: When the supervisor shuts down, lower stages end before higher ones.
        log: How much of its log is kept.
        note: Whatever a client wants to find again with the process; nothing secret.
        probe: How to check that it still does its work; None disables the check.
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
        code: Its exit code; the negative number of a signal that killed it; 127 when it could not
            be started again.
        at: Seconds since 1970.
        reason: The code in words.
        report: The last line of its reports; "" without one.
        asked: Whether it had been asked to end.
    """

    code: int
    at: float
    reason: str
    report: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process now.

    Attributes:
        name: Its name.
        state: Its state.
        pid: Of its latest run; 0 when it has none.
        since: When that run was started, in seconds since 1970.
        runs: How often it was started.
        reports: The first and the latest report lines of the latest run, oldest first.
        exit: How the run before, or the latest if it has ended, went.
        note: The client's own, as it came with the start.
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
    """It wrote a line of its reports."""
    EXITED = "exited"
    """The run ended; ``exit`` tells how."""
    RESTARTING = "restarting"
    """It will be started again after ``delay``."""
    GAVE_UP = "gave up"
    """It is in a crash loop and is not started again."""
    FORGOTTEN = "forgotten"
    """It was stopped, and its name is free."""


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """Something that happened to a process.

    Attributes:
        kind: What.
        name: To which process.
        at: Seconds since 1970.
        pid: Of the run that began, else 0.
        report: The line that it wrote, else "".
        exit: How the run ended.
        delay: Seconds until the next start.
        note: With STARTED, the client's own.
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
    """Start a process; nothing happens when the name is known. Item: its status."""

    process: ProcessSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """End a process within ``grace`` seconds, and forget it. Item: its exit, if it had one."""

    name: str
    grace: float


@dataclass(frozen=True, slots=True)
class List:
    """Every process. Items: their statuses."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Everything that happens from now on. Items: the statuses now, how many, then events."""


@dataclass(frozen=True, slots=True)
class Logs:
    """What a process printed. Items: lines.

    Attributes:
        name: The process.
        since: Lines from this time on, in seconds since 1970.
        tail: At most this many of the lines that are there; None is all.
        follow: Whether to go on with what it prints until it has ended.
    """

    name: str
    since: float = 0.0
    tail: int | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End every process, each stage within ``grace`` seconds, then the supervisor. No item."""

    grace: float


Request = Start | Stop | List | Observe | Logs | Shutdown
