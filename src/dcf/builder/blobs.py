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

from dcf.builder.disk import writing

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
        digits = digest.removeprefix("sha256:")
        return self._root / digits[:2] / digits

    def has(self, digest: str, size: int) -> bool:
        """Whether the blob is here and whole. One that is not whole is removed."""
        path = self.path(digest)
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        if found.st_size == size and found.st_mtime_ns == STAMP_NS:
            return True
        if found.st_size == size and _digest(path) == digest:
            self._seal(path)
            return True
        path.unlink(missing_ok=True)
        return False

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
            with os.fdopen(descriptor, "wb") as file:
                digest, size = self._copy(chunks, file)
            if not self.has(digest, size):
                self._seal(temporary)
                with writing(self._root):
                    self.path(digest).parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(self.path(digest))
        finally:
            temporary.unlink(missing_ok=True)
        return digest, size

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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
