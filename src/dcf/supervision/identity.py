"""Identifies processes by id and start time, because the kernel reuses ids."""

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
    """A process of this machine, distinct from all earlier and later ones.

    Attributes:
        pid: The process id.
        started: The start time, in the system's own form.
        boot: The id of the machine's boot; "" if ``started`` is a date.
    """

    pid: int
    started: str
    boot: str


def identify(pid: int) -> Identity | None:
    """Return the process that has an id now; None if it does not exist or has ended."""
    if sys.platform != "linux":
        return _identify_by_ps(pid)
    try:
        # The name in brackets may contain brackets and spaces (proc_pid_stat(5)).
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
    """Return a text that differs for each boot of the machine; "" if the system has none."""
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
    """Kill the process group of ``leader`` if exactly that process still runs.

    Returns:
        Whether it ran.
    """
    if identify(leader.pid) != leader:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader.pid, signal.SIGKILL)
    return True
