"""Holds this process, and all that it will start, to what the engine allows it.

Done before anything of the author's is there. A replica that cannot be held does not start.
"""

from __future__ import annotations

import fcntl
import os
import resource
from pathlib import Path

from dcf.errors import ConfinementFailed
from dcf.files.atomic import open_private
from dcf.settings import WatcherSettings

ROOM = 32 * 1024**2
"""Bytes of data that a handler needs at the least, beside what the watcher has."""


def confine(settings: WatcherSettings) -> None:
    """Joins the control groups, takes the cores, sets the limit and locks the GPUs.

    Raises:
        ConfinementFailed: When one of these cannot be had.
    """
    for folder in settings.cgroups.splitlines():
        _join(Path(folder))
    if settings.cpus:
        _run_on(settings.cpus)
    if settings.memory_limit:
        _limit_data(settings.memory_limit)
    for path in settings.gpu_locks.splitlines():
        _lock(Path(path))


def _join(folder: Path) -> None:
    try:
        (folder / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        reason = error.strerror
        raise ConfinementFailed(f"the control group {folder} cannot be joined: {reason}") from error


def _run_on(cpus: str) -> None:
    try:
        os.sched_setaffinity(0, [int(core) for core in cpus.split(",")])
    except (OSError, ValueError) as error:
        raise ConfinementFailed(f"it cannot run on the cores {cpus}: {error}") from error


def require_room(settings: WatcherSettings) -> None:
    """Check that the memory limit leaves room for a handler beside the watcher itself.

    Raises:
        ConfinementFailed: If it does not.
    """
    if settings.memory_limit:
        _require_room(settings.memory_limit)


def _require_room(limit: int) -> None:
    has = _data()
    if limit < has + ROOM:
        raise ConfinementFailed(
            f"a memory limit of {limit >> 20} MiB is too little: the watcher itself takes"
            f" {has >> 20} MiB, and a handler needs {ROOM >> 20} MiB at the least"
        )


def _limit_data(limit: int) -> None:
    # The watcher's own modules are imported within the limit, so it must exceed what they need.
    _require_room(limit)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (OSError, ValueError) as error:
        raise ConfinementFailed(f"the memory limit cannot be set: {error}") from error


def _data() -> int:
    """Bytes that count towards the limit now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _lock(path: Path) -> None:
    """Holds ``path`` until the process and all that it forks are gone: nobody closes it."""
    try:
        descriptor = open_private(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfinementFailed(f"{path.stem} has been taken by another replica") from error
    except OSError as error:
        raise ConfinementFailed(f"{path.stem} cannot be reserved: {error.strerror}") from error
