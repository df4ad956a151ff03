"""Storage errors, and private folders."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dcf.errors import NO_SPACE, DiskFull, StorageError

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Mode bits that give users other than the owner access."""

READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Errors of a place that this user must not write to."""


def private_folder(folder: Path) -> None:
    """Create a folder that only its owner can enter, or make an existing folder private.

    The files in it keep their modes: those of environments are hard links into uv's cache.

    Raises:
        StorageError: If it cannot be created.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        is_ours = status.st_uid == os.getuid() and not status.st_mode & stat.S_ISVTX
        if is_ours and status.st_mode & OTHERS:
            folder.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an operating system error in the block into one that names the place.

    Raises:
        DiskFull: If no space is left.
        StorageError: If the operating system reports another error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise full(place) from error
        raise StorageError(f"{place} cannot be written: {error.strerror or error}") from error


@contextmanager
def no_space(place: Path) -> Iterator[None]:
    """Turn an error for lack of space in the block into one that names the place.

    Other errors pass unchanged.

    Raises:
        DiskFull: If no space is left.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise full(error.filename or place) from error
        raise


def temporary_file(text: str = "") -> IO[str]:
    """Create a file with a text. It is removed when it is closed.

    Raises:
        DiskFull: If no space is left for it.
        StorageError: If no temporary folder is writable.
    """
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:  # no temporary folder is writable; this error says why
        place = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  only named
    with writing(Path(place)):
        file = tempfile.TemporaryFile(  # noqa: SIM115  the caller closes it
            "w+", dir=place, encoding="utf-8", errors="replace"
        )
        try:
            file.write(text)
            file.seek(0)
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
    return file


def full(place: Path | str) -> DiskFull:
    """Return the error for a place without space."""
    return DiskFull(f"{place}: expected free space, got none: no space left on device")
