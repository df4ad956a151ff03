"""Reads from the handlers' record which calls have begun, and where."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path


class Begun:
    """Reads the file that all handlers append to.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._pids: defaultdict[str, list[int]] = defaultdict(list)

    def read(self) -> None:
        """Read new lines."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            call, pid = line.split(" ")
            self._pids[call].append(int(pid))

    def pids(self, call: str) -> tuple[int, ...]:
        """Return the process of each time that a call has begun."""
        return tuple(self._pids.get(call, ()))
