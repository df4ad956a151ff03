"""Write files as a whole: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""Mode of a file that only its owner can read and write."""


@contextlib.contextmanager
def replacing(
    path: Path,
    *,
    mode: int | None = PRIVATE,
    scratch: Path | None = None,
    durable: bool = False,
) -> Iterator[BinaryIO]:
    """Open a file that replaces ``path`` at the end of the block.

    If the block raises, the file is removed and ``path`` stays as it is. A process that is killed
    within the block leaves a temporary file, ``.dcf-RANDOM``.

    Args:
        path: The file to replace or to create.
        mode: Permission bits; None takes those of a new file of this user (umask).
        scratch: Folder of the temporary file, on the file system of ``path``; None takes the folder
            of ``path``.
        durable: Whether content and name are on the disk once the block has ended.

    Raises:
        OSError: If the file cannot be written.
    """
    with _temporary(scratch or path.parent, mode) as (file, temporary):
        yield file
        _finish(file, durable=durable)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)


def replace_file(
    path: Path,
    content: bytes | str,
    *,
    mode: int | None = PRIVATE,
    scratch: Path | None = None,
    durable: bool = False,
) -> None:
    """Replace a file as a whole, or create it.

    Args:
        path: The file.
        content: Its bytes; text is encoded as UTF-8.
        mode: As of :func:`replacing`.
        scratch: As of :func:`replacing`.
        durable: As of :func:`replacing`.

    Raises:
        OSError: If the file cannot be written.
    """
    with replacing(path, mode=mode, scratch=scratch, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def create_file(path: Path, content: bytes) -> bool:
    """Create a private, durable file as a whole. An existing file is left alone.

    Returns:
        Whether this call created it.

    Raises:
        OSError: If the file cannot be written.
    """
    with _temporary(path.parent, PRIVATE) as (file, temporary):
        file.write(content)
        _finish(file, durable=True)
        try:
            path.hardlink_to(temporary)  # unlike a rename, it fails if the name exists
        except FileExistsError:
            return False
        sync_folder(path.parent)
    return True


def open_private(path: Path, flags: int = 0) -> int:
    """Open a file to read and write; create it private if it is missing.

    Args:
        path: The file.
        flags: Further flags of ``open(2)``, such as ``O_EXCL``.

    Returns:
        A file descriptor, which programs that this process starts do not inherit.

    Raises:
        OSError: If the file cannot be opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, PRIVATE)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: If the disk does not confirm it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(folder: Path, mode: int | None) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a new file, which is removed at the end of the block unless it has another name then."""
    temporary = folder / f".dcf-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666 if mode is None else PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _finish(file: BinaryIO, *, durable: bool) -> None:
    file.flush()
    if durable:
        os.fsync(file.fileno())
