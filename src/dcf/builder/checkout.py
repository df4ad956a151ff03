"""Lays out a bundle as a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dcf.builder.store import GUARD_OF_STORE, Store
from dcf.errors import NO_SPACE, BundleInvalid, StorageError
from dcf.files.storage import writing
from dcf.model.artifact import BundleFile

COPY_LIMIT = 4 * 1024**2
"""Maximum bytes of a file that is copied. A larger file, most likely a model, is shared with the
store, read-only."""


def checkout(store: Store, digest: str, destination: Path) -> None:
    """Make the folder that a bundle describes.

    Args:
        store: Holds the bundle and its blobs.
        digest: The bundle's digest.
        destination: The new folder, in an existing one. It appears complete or not at all.

    Raises:
        BundleInvalid: If a path in the bundle leads out of the folder.
        StorageError: If the store lacks something, or a file cannot be written.
    """
    with store.guard(GUARD_OF_STORE, shared=True):
        lay_out(store, store.bundle(digest).files, destination)


def lay_out(store: Store, files: Iterable[BundleFile], destination: Path) -> None:
    """Make a folder of some of a bundle's files. Arguments and errors as for :func:`checkout`."""
    if os.path.lexists(destination):
        raise StorageError(f"{destination} already exists")
    with writing(destination):
        scratch = Path(tempfile.mkdtemp(prefix=".dcf-", dir=destination.parent))
        try:
            scratch.chmod(0o755)
            for file in files:
                lay(store, file, scratch)
            scratch.rename(destination)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def checked_path(path: str) -> str:
    """Return a path of a bundle if it stays in the folder.

    Raises:
        BundleInvalid: If it does not.
    """
    parts = path.split("/")
    if not path or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise BundleInvalid(f"expected a path within a folder, got {path!r}")
    return path


def lay(store: Store, file: BundleFile, folder: Path) -> None:
    """Put a file of a bundle into a folder. The errors are those of :func:`checkout`."""
    place = folder / checked_path(file.path)
    if not store.blobs.has(file.digest, file.size):
        raise StorageError(
            f"expected the content of {file.path} in the store, got nothing; build or deploy again"
        )
    blob = store.blobs.path(file.digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.size > COPY_LIMIT and not file.executable and _link(blob, place):
        return
    shutil.copyfile(blob, place)
    place.chmod(0o755 if file.executable else 0o644)


def _link(blob: Path, place: Path) -> bool:
    """Make a hard link and return True; return False if that is impossible between these places."""
    try:
        place.hardlink_to(blob)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return False
    return True
