"""Records the last build of each function's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from dcf.builder.store import Store, digits
from dcf.model.artifact import digest_of
from dcf.protocol.json_text import read_json


@dataclass(slots=True)
class FolderRecord:
    """The last build of a function's folder.

    Attributes:
        folder: The folder's path.
        function: The function's name.
        bundle: Digest of the last bundle; "" before the first build.
        lock: Digest of the last lock; "" before the first build.
        environment: Key of the last environment; "" before the first build.
        used: Time of the last build, in seconds since the epoch.
        files: By path: size, mtime, ctime, device, inode, time of reading, digest. All times are in
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
        """Read a folder's record; return an empty record if it is missing or damaged."""
        empty = cls(str(folder), function, "", "", "", 0.0, {})
        return cls.read(record_path(store, empty)) or empty

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a record; return None if it is missing or damaged."""
        try:
            record = cls(**read_json(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return record if record._is_sound() else None

    def _is_sound(self) -> bool:
        texts: list[Any] = [self.folder, self.function]
        names: list[Any] = [self.bundle, self.lock, self.environment]
        used: Any = self.used
        files: Any = self.files
        return (
            all(isinstance(text, str) and "\0" not in text for text in texts)
            and all(map(_is_name, names))
            and isinstance(used, int | float)
            and isinstance(files, dict)
            and all(map(_is_entry, files.values()))
        )

    def save(self, store: Store) -> None:
        """Write the record to the store."""
        store.write(record_path(store, self), json.dumps(asdict(self)).encode())


def _is_name(value: object) -> bool:
    """Return whether a value may be the name of an item in the store."""
    return isinstance(value, str) and "/" not in value and "\0" not in value


def _is_entry(entry: object) -> bool:
    """Return whether a value is the entry of a file: seven items, the last one its digest."""
    if not isinstance(entry, list) or len(entry) != 7:  # noqa: PLR2004  see above
        return False
    return _is_name(entry[6]) and all(isinstance(number, int) for number in entry[:6])


def record_path(store: Store, record: FolderRecord) -> Path:
    """Return the path of a folder's record, which may not exist."""
    name = digest_of(f"{record.folder}\0{record.function}".encode(errors="surrogateescape"))
    return store.folders / f"{digits(name)[:32]}.json"
