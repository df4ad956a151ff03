"""Finds and kills the processes that descend from a run. Linux only.

A process may leave its group and session, close its files and empty its environment, and its parent
may be gone. But it keeps its resource limits: a fork copies them and an exec keeps them. One of
them, RLIMIT_LOCKS, has had no effect since Linux 2.4.25 (``getrlimit(2)``), so its soft value can
carry a number, which ``/proc/PID/limits`` shows. If the kernel rejects it, this module uses the
variables that the run was started with.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import zlib

# The process of ``kill_at_end`` runs this file, so it imports very little.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RUN_MARK = "DCF_RUN"
"""Variable that all descendants of one run inherit."""

_PROC = "/proc"
_RLIMIT_LOCKS = 10
_RUN_BITS = 31
_ROUNDS = 20
"""Maximum number of passes over all processes: a process may fork while others are killed."""


class DescendantMark:
    """A run and all its descendants.

    Attributes:
        variables: Variables to add to the run's environment.
    """

    def __init__(self, supervisor: str) -> None:
        """Create the mark of a run that is about to be started.

        Args:
            supervisor: The supervisor's mark.
        """
        run = os.urandom(16).hex()
        self.variables = {RUN_MARK: run}
        self._mark = f"{RUN_MARK}={run}".encode()
        self._number = _family(supervisor) << _RUN_BITS | int(run[:8], 16) >> 1

    def begin(self, pid: int) -> None:
        """Mark the run's first process. Call this right after the start, before it can fork."""
        if sys.platform == "linux":
            import resource  # noqa: PLC0415  not on every system

            with contextlib.suppress(OSError, ValueError):
                _, hard = resource.prlimit(pid, _RLIMIT_LOCKS)
                resource.prlimit(pid, _RLIMIT_LOCKS, (self._number, hard))

    def includes(self, pid: int) -> bool:
        """Return whether a process descends from the run."""
        return _number_of(pid) == self._number or _has_variable(pid, self._mark)

    def kill(self) -> int:
        """Kill all descendants of the run; return their number."""
        return kill_all(self.includes)


def kill_descendants(variable: bytes, supervisor: str) -> int:
    """Kill all descendants of any run of a supervisor.

    Args:
        variable: Name and value of the variable that all of them inherit.
        supervisor: The supervisor's mark.

    Returns:
        Number of killed processes.
    """
    family = _family(supervisor)

    def descends(pid: int) -> bool:
        number = _number_of(pid)
        of_family = number is not None and number >> _RUN_BITS == family
        return of_family or _has_variable(pid, variable)

    return kill_all(descends)


def kill_marked(variable: bytes, patience: float) -> int:
    """Kill all processes that inherited a variable, and wait until they have ended.

    Args:
        variable: The variable's name and value, ``NAME=value``.
        patience: Seconds to wait. A process that waits for a disk ends later.

    Returns:
        Number of killed processes.
    """
    return kill_all(lambda pid: _has_variable(pid, variable), patience)


def kill_all(matches: Callable[[int], bool], patience: float = 0.0) -> int:
    """Kill every process that ``matches``, except this one.

    Args:
        matches: Returns whether to kill the process with an id.
        patience: Seconds to wait until the killed processes have ended.

    Returns:
        Number of killed processes.
    """
    if sys.platform != "linux":
        return 0
    killed: dict[int, int] = {}
    try:
        for _ in range(_ROUNDS):
            selected = [pid for pid in _pids() if pid not in killed and matches(pid)]
            handles = {pid: _kill_if(pid, matches) for pid in selected}
            if all(handle is None for handle in handles.values()):
                break
            killed |= {pid: handle for pid, handle in handles.items() if handle is not None}
        _wait(killed.values(), patience)
    finally:
        for handle in killed.values():
            os.close(handle)
    return len(killed)


def children() -> list[int]:
    """Return the ids of this process's children, including adopted ones."""
    parent, pids = str(os.getpid()).encode(), []
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError):
            stat = _read(pid, "stat")
            if stat.rpartition(b")")[2].split()[1] == parent:
                pids.append(pid)
    return pids


def ended_child() -> int | None:
    """Return the id of a child that has ended but is not reaped yet, or None."""
    if not hasattr(os, "waitid"):
        return None
    try:
        child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return child.si_pid if child else None


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends (``PR_SET_CHILD_SUBREAPER``)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  not needed elsewhere

        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


_SET_CHILD_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of ``prctl(2)``."""


def kill_at_end(variable: str, supervisor: str) -> list[str]:
    """Return the command line of a process that kills descendants once its standard input ends.

    Start it with a pipe whose other end only the supervisor holds. Then it ends the descendants of
    a supervisor that is killed. It imports no packages, because every start waits for it.

    Args:
        variable: Name of the variable that holds the supervisor's mark.
        supervisor: The supervisor's mark.
    """
    return [sys.executable, "-I", "-S", __file__, variable, supervisor]


def _family(supervisor: str) -> int:
    return zlib.crc32(supervisor.encode()) >> 1


def _pids() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal() and int(name) != own]  # noqa: PTH208  names suffice


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process's folder in ``/proc``."""
    descriptor = os.open(f"{_PROC}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _number_of(pid: int) -> int | None:
    try:
        limits = _read(pid, "limits")
    except OSError:
        return None
    begin = limits.find(b"Max file locks")
    if begin < 0:
        return None
    soft = limits[begin : limits.find(b"\n", begin)].split()[3]
    return int(soft) if soft.isdigit() else None


def _has_variable(pid: int, variable: bytes) -> bool:
    try:
        return variable in _read(pid, "environ").split(b"\0")
    except OSError:
        return False


if sys.platform == "linux":

    def _kill_if(pid: int, matches: Callable[[int], bool]) -> int | None:
        """Kill a process that ``matches``; return its open descriptor, or None if it does not.

        A process descriptor cannot refer to a later process with the same id.
        """
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return None
        try:
            if matches(pid):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return handle
        except OSError:
            pass
        os.close(handle)
        return None


def _wait(handles: Iterable[int], patience: float) -> None:
    """Wait until all processes have ended, or ``patience`` seconds have passed."""
    deadline = time.monotonic() + patience
    for handle in handles:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(1000 * max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    while os.read(0, 1024):
        pass
    kill_descendants(f"{sys.argv[1]}={sys.argv[2]}".encode(), sys.argv[2])
