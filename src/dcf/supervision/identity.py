"""Who a process id belongs to: ids are used again, ids with their start times are not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of this machine, among all there ever were.

    Attributes:
        pid: Its id.
        started: When the kernel started it, as the system tells it.
        boot: Which boot of the machine that was in; "" where ``started`` is a date.
    """

    pid: int
    started: str
    boot: str


def identify(pid: int) -> Identity | None:
    """The process that has this id now, or None when there is none or it has ended."""
    if sys.platform != "linux":
        return _identify_by_ps(pid)
    try:
        # The name, in brackets, may hold brackets and spaces itself (proc_pid_stat(5)).
        parts = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, started = parts[0], parts[19]
    return None if state in "ZX" else Identity(pid, started, boot_id())


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal such as SIGSTOP. Only known on Linux."""
    if sys.platform != "linux":
        return False
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def boot_id() -> str:
    """A text that differs for each boot of the machine; "" where the system has none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _identify_by_ps(pid: int) -> Identity | None:
    done = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or "Z" in state else Identity(pid, started.strip(), "")


def kill_group(leader: Identity) -> bool:
    """Kills the process group of ``leader`` if that very process still lives.

    Returns:
        Whether it did.
    """
    if identify(leader.pid) != leader:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
    return True
