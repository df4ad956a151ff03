"""Records the calls of one replica in a file that outlives its process.

A watcher maps the file into memory. It enters each call when the call joins the queue, and marks
the entry right before the handler begins. Both are writes to memory, without a system call. When
the process dies, the kernel keeps the pages. The replica that gets the call next reads there
whether the call had begun, and when it first arrived.

The files of a function's replicas are in one folder. The layout is private to this module and may
change with each release, because a replica never outlives its gateway's version of DCF.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from dcf.files.atomic import open_private

_ENTRY = struct.Struct("<ddBB128s14x")
"""Arrival and end in seconds of the monotonic clock, state, length of the id, id."""
_STATE = 16
_LENGTH = 17
_LONGEST_ID = 128
_LARGEST = 1024**3
"""Maximum size of a table in bytes. Functions may set any ``queue``."""

ENDED = ".ended"
"""Suffix of the file of a replica that was found dead."""
KEPT = 600.0
"""Seconds for which the file of a dead replica is kept. Most retries come within seconds; a call
that is held until another replica is ready may come minutes later."""


class _State(IntEnum):
    FREE = 0
    WAITING = 1
    BEGUN = 2


_WAITING = int(_State.WAITING)
_BEGUN = int(_State.BEGUN)
_enter = _ENTRY.pack_into
"""Constants for the path of every call: Python 3.11 needs 0.1 µs to look up a member of an enum."""


@dataclass(frozen=True, slots=True)
class EarlierAttempt:
    """What the tables record about earlier attempts of a call.

    Attributes:
        begun: Whether a handler had begun the call.
        arrived: When the call first joined a queue (``time.monotonic()``, which all processes of a
            machine share).
        ends: When its caller stops waiting; infinite without a deadline.
    """

    begun: bool
    arrived: float
    ends: float


class CallTable:
    """The table of this process's calls."""

    def __init__(self, memory: mmap.mmap, descriptor: int) -> None:
        """Use :meth:`create`.

        Args:
            memory: The mapped file.
            descriptor: The file; its lock shows that the process lives.
        """
        self._memory = memory
        self._descriptor = descriptor
        self._free = deque(range(0, len(memory) - _ENTRY.size + 1, _ENTRY.size))

    @classmethod
    def create(cls, path: Path, entries: int) -> Self:
        """Create the file and map it.

        Args:
            path: The file; its folder is created if it is missing.
            entries: Maximum number of calls at the same time.

        Raises:
            OSError: If the file cannot be created, is too large, or the disk has no space for all
                of it. All blocks are allocated now, because a page that cannot be stored later
                would kill the process (SIGBUS).
        """
        size = entries * _ENTRY.size
        if size > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(path.parent)
        descriptor = open_private(path, os.O_EXCL)
        try:
            os.truncate(descriptor, size)
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(descriptor, 0, size)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return cls(mmap.mmap(descriptor, size), descriptor)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise

    def enter(self, request_id: bytes, arrived: float, ends: float) -> int | None:
        """Enter a call that waits for the handler.

        Args:
            request_id: The call's id, at most 128 bytes.
            arrived: When it arrived, in seconds of the monotonic clock.
            ends: When its caller stops waiting.

        Returns:
            The entry, for the other methods; None if the table is full.
        """
        try:
            entry = self._free.popleft()
        except IndexError:
            return None
        _enter(self._memory, entry, arrived, ends, _WAITING, len(request_id), request_id)
        return entry

    def begin(self, entry: int) -> None:
        """Mark that the handler begins. Any thread may call this."""
        self._memory[entry + _STATE] = _BEGUN

    def release(self, entry: int) -> None:
        """Free an entry. It stays readable until it is reused, as late as possible."""
        self._free.append(entry)


def find(folder: Path, request_id: bytes) -> EarlierAttempt | None:
    """Search all tables of a function for a call.

    Args:
        folder: Folder of the function's tables.
        request_id: The call's id.

    Returns:
        None if no replica ever queued the call. If several did, the call counts as begun if any of
        them began it, and its times are the earliest.
    """
    attempts = [entry for table in _tables(folder) for entry in _entries(table, request_id)]
    if not attempts:
        return None
    return EarlierAttempt(
        begun=any(attempt.begun for attempt in attempts),
        arrived=min(attempt.arrived for attempt in attempts),
        ends=min(attempt.ends for attempt in attempts),
    )


def clean(folder: Path) -> None:
    """Remove the tables of replicas that died long ago, and the folder once it is empty."""
    with contextlib.suppress(OSError):
        _remove_old(folder)
        folder.rmdir()


def _tables(folder: Path) -> Iterator[bytes]:
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        # Another process may have renamed the file, which is then found under its new name, or
        # removed it, which happens only long after the replica's death.
        for name in (path.name, path.name + ENDED):
            with contextlib.suppress(OSError):
                yield path.with_name(name).read_bytes()
                break


def _entries(table: bytes, request_id: bytes) -> Iterator[EarlierAttempt]:
    pattern = bytes([len(request_id)]) + request_id.ljust(_LONGEST_ID, b"\0")
    at = table.find(pattern)
    while at >= 0:
        start = at - _LENGTH
        if start % _ENTRY.size == 0 and start + _ENTRY.size <= len(table):
            arrived, ends, state, _, _ = _ENTRY.unpack_from(table, start)
            if state != _State.FREE:
                yield EarlierAttempt(state != _State.WAITING, arrived, ends)
        at = table.find(pattern, at + 1)


def _remove_old(folder: Path) -> None:
    """Remove the files of replicas that died long ago, and rename those of other dead replicas."""
    now = time.time()
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name.endswith(ENDED):
                if now - path.stat().st_mtime > KEPT:
                    path.unlink()
            elif _is_dead(path):
                os.utime(path)
                path.rename(path.with_name(path.name + ENDED))


def _is_dead(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
