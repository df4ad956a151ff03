"""Ends replicas that take more memory than they may, where nothing else holds them to it."""

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
"""Seconds between two looks."""

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Watched:
    leader: Identity
    limit: int


class MemoryWatchdog:
    """Looks at the memory of replicas from time to time.

    Attributes:
        ended: Of each replica that was killed, by the name of its process: why.
    """

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}
        self._watched: dict[str, _Watched] = {}

    def add(self, name: str, pid: int, limit: int) -> None:
        """Watches a process and all of its session from now on.

        Args:
            name: The process's name.
            pid: The leader's of the session.
            limit: Bytes.
        """
        if (leader := identify(pid)) is not None:
            self._watched[name] = _Watched(leader, limit)

    def remove(self, name: str) -> None:
        """Watches a process no more; nothing happens when it was not watched."""
        self._watched.pop(name, None)

    def forget(self, name: str) -> None:
        """Forgets a process, and why it was killed."""
        self.remove(name)
        self.ended.pop(name, None)

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            if self._watched:
                await asyncio.to_thread(self._look, dict(self._watched))

    def _look(self, watched: dict[str, _Watched]) -> None:
        resident = _resident_by_session()
        for name, one in watched.items():
            if resident[one.leader.pid] <= one.limit:
                continue
            used = _proportional(one.leader.pid)
            if used > one.limit:
                self.ended[name] = (
                    f"it took {size(used)} of memory, over its limit of"
                    f" {size(one.limit)} ({WATCHED})"
                )
                kill_group(one.leader)


def _sessions() -> dict[int, tuple[int, int]]:
    """Of every process: its session, and the bytes of memory that it uses, shared ones too."""
    found = {}
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            found[int(entry.name)] = int(stat[3]), int(stat[21]) * _PAGE
    return found


def _resident_by_session() -> Counter[int]:
    total: Counter[int] = Counter()
    for session, resident in _sessions().values():
        total[session] += resident
    return total


def _proportional(session: int) -> int:
    """The bytes that a session uses, what its processes share counted once.

    The kernel walks all of their memory for it, so it is asked only when there is doubt.
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
