"""Sets the engine's limits on this process and on all processes that it will start.

The limits are in force before any code of the author runs. If a limit cannot be set, the replica
does not start.
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
"""Minimum bytes of data that a handler needs in addition to the watcher's own."""


def confine(settings: WatcherSettings) -> None:
    """Join the control groups, bind to the cores, set the memory limit, and lock the GPUs.

    Raises:
        ConfinementFailed: If one of these fails.
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
        raise ConfinementFailed(f"cannot join the control group {folder}: {reason}") from error


def _run_on(cpus: str) -> None:
    try:
        os.sched_setaffinity(0, [int(core) for core in cpus.split(",")])
    except (OSError, ValueError) as error:
        raise ConfinementFailed(f"cannot run on the cores {cpus}: {error}") from error


def require_room(settings: WatcherSettings) -> None:
    """Check that the memory limit leaves room for a handler beside the watcher itself.

    Raises:
        ConfinementFailed: If it does not.
    """
    if settings.memory_limit:
        _require_room(settings.memory_limit)


def _require_room(limit: int) -> None:
    used = _data()
    if limit < used + ROOM:
        raise ConfinementFailed(
            f"expected a memory limit of at least {-(-(used + ROOM) >> 20)} MiB, got"
            f" {limit >> 20} MiB: the watcher uses {used >> 20} MiB, and a handler needs at least"
            f" {ROOM >> 20} MiB"
        )


def _limit_data(limit: int) -> None:
    # The watcher's own modules are imported within the limit, so it must exceed what they need.
    _require_room(limit)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (OSError, ValueError) as error:
        raise ConfinementFailed(f"cannot set the memory limit: {error}") from error


def _data() -> int:
    """Return the bytes that count towards the limit now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _lock(path: Path) -> None:
    """Lock ``path`` until this process and all its forks have ended: the file stays open."""
    try:
        descriptor = open_private(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfinementFailed(f"{path.stem} is used by another replica") from error
    except OSError as error:
        raise ConfinementFailed(f"cannot reserve {path.stem}: {error.strerror}") from error
