"""Ends replicas that exceed their memory limit where nothing else enforces it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dcf.engines.local.limits import WATCHED, size
from dcf.supervision.identity import Identity, identify, kill_group

INTERVAL = 0.5
"""Seconds between two checks."""

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Watched:
    leader: Identity
    limit: int


class MemoryWatchdog:
    """Checks the memory of replicas periodically.

    Attributes:
        ended: Why each killed replica was killed, by the name of its process.
    """

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}
        self._watched: dict[str, _Watched] = {}

    def add(self, name: str, pid: int, limit: int) -> None:
        """Watch a process and its session.

        Args:
            name: The process's name.
            pid: The id of the session's leader.
            limit: Bytes.
        """
        if (leader := identify(pid)) is not None:
            self._watched[name] = _Watched(leader, limit)

    def remove(self, name: str) -> None:
        """Stop watching a process; do nothing if it is not watched."""
        self._watched.pop(name, None)

    def forget(self, name: str) -> None:
        """Forget a process, and why it was killed."""
        self.remove(name)
        self.ended.pop(name, None)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if self._watched:
                await asyncio.to_thread(self._check, dict(self._watched))

    def _check(self, watched: dict[str, _Watched]) -> None:
        resident = _resident_by_session()
        for name, process in watched.items():
            if resident[process.leader.pid] <= process.limit:
                continue
            used = _proportional(process.leader.pid)
            if used > process.limit:
                self.ended[name] = (
                    f"it took {size(used)} of memory, over its limit of"
                    f" {size(process.limit)} ({WATCHED})"
                )
                kill_group(process.leader)


def _sessions() -> dict[int, tuple[int, int]]:
    """Return session and resident bytes, including shared ones, of every process."""
    sessions = {}
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            sessions[int(entry.name)] = int(stat[3]), int(stat[21]) * _PAGE
    return sessions


def _resident_by_session() -> Counter[int]:
    total: Counter[int] = Counter()
    for session, resident in _sessions().values():
        total[session] += resident
    return total


def _proportional(session: int) -> int:
    """Return the bytes that a session uses; shared memory counts once.

    The kernel walks all of the memory for this, so use it only if the cheap figure is too high.
    """
    total = 0
    for pid, (its, resident) in _sessions().items():
        if its == session:
            total += _proportional_of(pid, resident)
    return total


def _proportional_of(pid: int, resident: int) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident
