"""Stores files under the digest of their content.

A blob is written once and then read-only, with a constant time stamp. A blob with another time
stamp was modified, perhaps through a hard link in a replica's tree. It is hashed again before it is
used.
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
"""1980-01-01, which is also the earliest time that zip files can hold."""

CHUNK = 1 << 20
"""Bytes read at a time: so large that the calls cost nothing compared with the hashing."""


class Blobs:
    """The blobs under one folder."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch

    def path(self, digest: str) -> Path:
        """Return the path of a blob, which may not exist."""
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        digits = digest.removeprefix("sha256:")
        return f"{self._root}/{digits[:2]}/{digits}"

    def has(self, digest: str, size: int) -> bool:
        """Return whether a blob exists and is intact. A damaged blob is removed.

        The size may come from a client: a wrong size returns False, and removes nothing.
        """
        try:
            # A Path costs more than the call, and there may be 100,000 files to look up.
            status = os.stat(self._place(digest))  # noqa: PTH116  see above
        except FileNotFoundError:
            return False
        if status.st_size == size and status.st_mtime_ns == STAMP_NS:
            return True
        path = self.path(digest)
        if digest_of_file(path) != digest:
            path.unlink(missing_ok=True)
            return False
        self._seal(path)
        return status.st_size == size

    def add(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store a content.

        Returns:
            The content's digest and its size in bytes.

        Raises:
            StorageError: If the content cannot be written. A partial file is removed.
        """
        with writing(self._root):
            descriptor, name = tempfile.mkstemp(dir=self._scratch)
        temporary = Path(name)
        try:
            # Closing the file also writes buffered data, and so can fail for lack of space.
            with no_space(self._root), os.fdopen(descriptor, "wb") as file:
                digest, size = self._copy(chunks, file)
            if not self.has(digest, size):
                self.adopt(temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)
        return digest, size

    def adopt(self, file: Path, digest: str) -> None:
        """Make a file the blob of a digest. The caller has checked that the content has it.

        The blob outlives this process, even if it is killed. A power failure may undo it: nothing
        is synced to the disk, because a lost blob can be built or sent again.

        Raises:
            StorageError: If the file cannot be moved into the store.
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
        """Return the file of every blob."""
        return self._root.glob("??/*")


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
