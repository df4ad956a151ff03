"""File locks that processes use to exclude each other.

The kernel releases an ``flock`` when the last process that has the file open ends, for any reason.
So a kill leaves nothing to clean up, and a child that inherits the descriptor keeps the lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcf.files.storage import writing

POLL = 0.1
"""Seconds between two attempts to take a lock, if the wait can be cancelled."""


@contextmanager
def locked(
    path: Path,
    *,
    shared: bool = False,
    wait: bool = True,
    on_wait: Callable[[], None] | None = None,
    pause: Callable[[float], None] | None = None,
) -> Iterator[int]:
    """Hold a lock during the block; yield its descriptor, which a child may inherit.

    Args:
        path: The lock file. It is created if it is missing.
        shared: Whether other processes may hold the lock shared too.
        wait: Whether to wait for the lock.
        on_wait: Called once before the wait.
        pause: Sleeps for some seconds; an error that it raises ends the wait. With None the wait
            cannot be cancelled.

    Raises:
        StorageError: If the file cannot be created.
        BlockingIOError: If ``wait`` is false and another process has the lock.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, kind, wait=wait, on_wait=on_wait, pause=pause)
            if _names(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)
        on_wait = None


def _lock(
    descriptor: int,
    kind: int,
    *,
    wait: bool,
    on_wait: Callable[[], None] | None,
    pause: Callable[[float], None] | None,
) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
        else:
            return
        if on_wait is not None:
            on_wait()
            on_wait = None
        if pause is None:
            fcntl.flock(descriptor, kind)
            return
        pause(POLL)


def _names(path: Path, descriptor: int) -> bool:
    """Return whether ``path`` is still the open file: pruning removes unlocked lock files."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor))
