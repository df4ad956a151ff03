"""Files named by their content.

A blob is written once and read-only from then on. Its time stamp is a constant: one that has
another was touched, perhaps through a hard link in a replica's tree, and is trusted only after its
content was hashed again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from dcf.files.storage import no_space, writing

STAMP_NS = 315_532_800 * 1_000_000_000
"""1980-01-01, the oldest time that zip files can hold too."""

CHUNK = 1 << 20
"""Bytes read at a time: enough that the calls cost nothing beside the hashing."""


class Blobs:
    """The blobs under one folder."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be."""
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        digits = digest.removeprefix("sha256:")
        return f"{self._root}/{digits[:2]}/{digits}"

    def has(self, digest: str, size: int) -> bool:
        """Whether the blob is here and whole. One that is not whole is removed.

        The size may be a stranger's: one that is wrong finds nothing, and removes nothing.
        """
        try:
            # A Path costs more than the call, and there may be 100,000 files to look for.
            found = os.stat(self._place(digest))  # noqa: PTH116  see above
        except FileNotFoundError:
            return False
        if found.st_size == size and found.st_mtime_ns == STAMP_NS:
            return True
        path = self.path(digest)
        if digest_of_file(path) != digest:
            path.unlink(missing_ok=True)
            return False
        self._seal(path)
        return found.st_size == size

    def add(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Stores a content.

        Returns:
            Its digest and its size in bytes.

        Raises:
            StorageError: When it cannot be written; nothing is left of it then.
        """
        with writing(self._root):
            descriptor, name = tempfile.mkstemp(dir=self._scratch)
        temporary = Path(name)
        try:
            # Closing a file tries again to write what is still buffered.
            with no_space(self._root), os.fdopen(descriptor, "wb") as file:
                digest, size = self._copy(chunks, file)
            if not self.has(digest, size):
                self.adopt(temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)
        return digest, size

    def adopt(self, file: Path, digest: str) -> None:
        """Makes a file the blob of a digest, which the caller knows to be that of its content.

        From then on it outlives this process, killed or not. A power failure may undo it: nothing
        is forced to the disk, because what is lost can be made or sent again.

        Raises:
            StorageError: When that fails.
        """
        with writing(self._root):
            self.path(digest).parent.mkdir(parents=True, exist_ok=True)
            file.replace(self.path(digest))
        self._seal(self.path(digest))

    def _copy(self, chunks: Iterable[bytes], file: BinaryIO) -> tuple[str, int]:
        hashed = hashlib.sha256()
        size = 0
        for chunk in chunks:
            hashed.update(chunk)
            size += len(chunk)
            with writing(self._root):
                file.write(chunk)
        with writing(self._root):
            file.flush()
        return "sha256:" + hashed.hexdigest(), size

    def _seal(self, path: Path) -> None:
        with writing(self._root):
            path.chmod(0o444)
            os.utime(path, ns=(STAMP_NS, STAMP_NS))

    def all(self) -> Iterable[Path]:
        """Every blob's file."""
        return self._root.glob("??/*")


def digest_of_file(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
