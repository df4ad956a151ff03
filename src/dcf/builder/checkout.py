"""From a bundle back to a folder."""

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
"""Bytes. A file up to this size is the replica's own copy; a larger one, most likely a model, is
shared with the store, read-only."""


def checkout(store: Store, digest: str, destination: Path) -> None:
    """Makes the folder that a bundle describes.

    Args:
        store: Holds the bundle and its blobs.
        digest: The bundle's.
        destination: Must not exist; its parent must. It appears whole or not at all.

    Raises:
        BundleInvalid: When a path in the bundle leads out of the folder.
        StorageError: When something is missing in the store, or cannot be written.
    """
    with store.guard(GUARD_OF_STORE, shared=True):
        lay_out(store, store.bundle(digest).files, destination)


def lay_out(store: Store, files: Iterable[BundleFile], destination: Path) -> None:
    """Makes a folder of some files of a bundle. Arguments and errors as for :func:`checkout`."""
    if os.path.lexists(destination):
        raise StorageError(f"{destination} exists already")
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
    """A bundle's path, if it stays in the folder.

    Raises:
        BundleInvalid: When it does not.
    """
    parts = path.split("/")
    if not path or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise BundleInvalid(f"{path!r} is no path within a folder")
    return path


def lay(store: Store, file: BundleFile, folder: Path) -> None:
    """Puts one file of a bundle where it belongs in a folder. Errors as for :func:`checkout`."""
    place = folder / checked_path(file.path)
    if not store.blobs.has(file.digest, file.size):
        raise StorageError(f"the content of {file.path} is not in the store")
    blob = store.blobs.path(file.digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.size > COPY_LIMIT and not file.executable and _link(blob, place):
        return
    shutil.copyfile(blob, place)
    place.chmod(0o755 if file.executable else 0o644)


def _link(blob: Path, place: Path) -> bool:
    """Whether a hard link could be made; not between file systems, for one."""
    try:
        place.hardlink_to(blob)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return False
    return True
