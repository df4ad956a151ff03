"""What the store knows of each function's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from dcf.builder.store import Store, digits
from dcf.model.artifact import digest_of
from dcf.protocol.json_text import read_json


@dataclass(slots=True)
class FolderRecord:
    """What is known of one function's folder.

    Attributes:
        folder: Its path.
        function: The function's name.
        bundle: Digest of the last bundle; "" before the first build.
        lock: Digest of the last lock; "" before the first build.
        environment: Key of the last environment; "" before the first build.
        used: Seconds since the epoch of the last build.
        files: By path: size, mtime, ctime, device, inode, when it was read, digest; all times in
            nanoseconds since the epoch.
    """

    folder: str
    function: str
    bundle: str
    lock: str
    environment: str
    used: float
    files: dict[str, list[int | str]]

    @classmethod
    def load(cls, store: Store, folder: Path, function: str) -> Self:
        """Reads a folder's record; an empty one when there is none or it cannot be read."""
        empty = cls(str(folder), function, "", "", "", 0.0, {})
        return cls.read(record_path(store, empty)) or empty

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Reads a record; None when it is none."""
        try:
            return cls(**read_json(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, store: Store) -> None:
        """Replaces the record on disk."""
        store.write(record_path(store, self), json.dumps(asdict(self)).encode())


def record_path(store: Store, record: FolderRecord) -> Path:
    """Where a folder's record is, or would be."""
    name = digest_of(f"{record.folder}\0{record.function}".encode(errors="surrogateescape"))
    return store.folders / f"{digits(name)[:32]}.json"
