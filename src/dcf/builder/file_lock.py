"""Locks among processes, on files.

``flock`` is released by the kernel when the last process that has the open file ends, however it
ends: nothing to clean up after a kill, and a child that inherits the descriptor holds the lock on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcf.files.storage import writing

LOOK = 0.1
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
    """Holds the lock named by ``path``; gives its descriptor, which a child may inherit.

    Args:
        path: Made when it is not there.
        shared: Whether others may share it.
        wait: Whether to wait for it.
        on_wait: Called once before waiting.
        pause: Waits for some seconds; an error that it raises ends the wait. None waits without
            a way to cancel.

    Raises:
        StorageError: When the file cannot be made.
        BlockingIOError: When ``wait`` is false and somebody else has it.
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
        pause(LOOK)


def _names(path: Path, descriptor: int) -> bool:
    """Whether ``path`` still is the open file: pruning removes lock files that nobody has."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
