"""Control groups of Linux, in which the kernel enforces limits.

A group is a folder beside or below the group of this process. Version 1 has a tree of folders for
each controller, version 2 one tree for all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY, CPU = "memory", "cpu"
"""The kernel's names of the controllers."""

PERIOD = 100_000
"""Microseconds over which CPU time is counted; the kernel's default."""

LEAST_QUOTA = 1_000
"""Minimum microseconds in each period that the kernel accepts."""

_PROBE = 1 << 30
"""Bytes of a limit that is set to find out whether limits can be set."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The folder in which groups with a controller are created.

    Attributes:
        folder: The folder.
        version: 1 or 2.
    """

    folder: Path
    version: int


class Cgroups:
    """Creates and removes groups, and reads what happened in them."""

    def __init__(self, parents: Mapping[str, Parent]) -> None:
        """Use known parents.

        Args:
            parents: The parent for each controller that can be used.
        """
        self._parents = dict(parents)
        self._folders = sorted({parent.folder for parent in parents.values()})

    @classmethod
    def find(cls) -> Cgroups:
        """Find where this process may create groups. On many machines it may not."""
        if sys.platform != "linux":
            return cls({})
        try:
            own = Path("/proc/self/cgroup").read_text()
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return cls({})
        found: dict[str, Parent] = {}
        for controller, parent in candidates(own, mounts):
            if controller not in found and _usable(controller, parent):
                found[controller] = parent
        return cls(found)

    def version(self, controller: str) -> int:
        """Return the version of cgroups that has ``controller``; 0 if it cannot be used."""
        parent = self._parents.get(controller)
        return parent.version if parent else 0

    def make(self, name: str, *, memory: int = 0, cpu: float = 0.0) -> tuple[Path, ...]:
        """Create a group. Its limits apply to all processes that join it.

        Args:
            name: The folder's name.
            memory: Bytes, including swap; 0 sets no limit.
            cpu: Cores; 0 sets no limit.

        Returns:
            The folders to join.

        Raises:
            OSError: If it cannot be created.
        """
        wanted = [(MEMORY, float(memory)), (CPU, cpu)]
        made: dict[Path, None] = {}
        for controller, amount in wanted:
            if amount:
                parent = self._parents[controller]
                folder = parent.folder / name
                folder.mkdir(exist_ok=True)
                _limit(controller, parent.version, folder, amount)
                made[folder] = None
        return tuple(made)

    def oom_kills(self, name: str) -> int:
        """Return how many processes of a group the kernel killed for lack of memory."""
        parent = self._parents.get(MEMORY)
        if parent is None:
            return 0
        file = "memory.events" if parent.version == 2 else "memory.oom_control"  # noqa: PLR2004
        with contextlib.suppress(OSError):
            for line in (parent.folder / name / file).read_text().splitlines():
                key, _, count = line.partition(" ")
                if key == "oom_kill":
                    return int(count)
        return 0

    def remove(self, name: str) -> bool:
        """Kill the processes in a group and remove it.

        Returns:
            Whether it is removed. Killed processes may need a moment to end.
        """
        left = [folder for folder in self._folders if not _remove(folder / name)]
        return not left

    def sweep(self, prefix: str, keep: Collection[str]) -> None:
        """Remove the groups whose names start with ``prefix``, except those in ``keep``."""
        for folder in self._folders:
            for group in folder.glob(f"{prefix}*"):
                if group.name not in keep:
                    _remove(group)


def candidates(own: str, mounts: str) -> Iterator[tuple[str, Parent]]:
    """Yield where groups could be created, the best parent of each controller first.

    In version 2, a group with processes cannot contain groups with limits. So the parent of this
    process's group is a candidate too, if it belongs to this user.

    Args:
        own: ``/proc/self/cgroup``.
        mounts: ``/proc/self/mountinfo``.
    """
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for root, top, kind, options in _cgroup_mounts(mounts):
        for controller in (MEMORY, CPU):
            key = "" if kind == "cgroup2" else controller
            if key not in paths or (key and key not in options):
                continue
            with contextlib.suppress(ValueError):
                below = Path(paths[key]).relative_to(root)
                yield controller, Parent(top / below, 1 if key else 2)
                if not key and below.parts:
                    yield controller, Parent((top / below).parent, 2)


def _cgroup_mounts(mounts: str) -> Iterator[tuple[str, Path, str, list[str]]]:
    """Yield root, mount point, kind and options of each mounted tree (proc(5))."""
    for line in mounts.splitlines():
        place, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            _, _, _, root, top, *_ = place.split(" ")
            yield root, Path(top), kind, options.split(",")


def _usable(controller: str, parent: Parent) -> bool:
    """Return whether a group can be created and joined. Only a trial can tell."""
    if parent.version == 2:  # noqa: PLR2004  the version
        enabled = parent.folder / "cgroup.subtree_control"
        with contextlib.suppress(OSError):
            if controller not in enabled.read_text().split():
                enabled.write_text(f"+{controller}")
    probe = parent.folder / f"dcf-probe-{os.getpid()}"
    try:
        probe.mkdir()
        try:
            _limit(controller, parent.version, probe, float(_PROBE if controller == MEMORY else 1))
        finally:
            probe.rmdir()
    except OSError:
        return False
    # Version 2 requires this to move a process.
    return os.access(parent.folder / "cgroup.procs", os.W_OK)


def _limit(controller: str, version: int, folder: Path, amount: float) -> None:
    quota = max(LEAST_QUOTA, round(amount * PERIOD))
    files: Iterable[tuple[str, str]]
    optional: Iterable[tuple[str, str]] = ()
    match controller, version:
        case "memory", 1:
            files = [("memory.limit_in_bytes", str(int(amount)))]
            optional = [("memory.memsw.limit_in_bytes", str(int(amount)))]
        case "memory", _:
            files = [("memory.max", str(int(amount)))]
            optional = [("memory.swap.max", "0"), ("memory.oom.group", "1")]
        case _, 1:
            files = [("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", str(quota))]
        case _:
            files = [("cpu.max", f"{quota} {PERIOD}")]
    for name, text in files:
        (folder / name).write_text(text)
    for name, text in optional:
        # Kernels without swap accounting do not have these.
        with contextlib.suppress(OSError):
            (folder / name).write_text(text)


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        _kill_all(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()
        return not folder.exists()
    return True


def _kill_all(folder: Path) -> None:
    try:
        (folder / "cgroup.kill").write_text("1")
    except OSError:
        with contextlib.suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), signal.SIGKILL)
