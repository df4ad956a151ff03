"""Receives uploads: a client announces a bundle and a lock, then sends the missing blobs.

The store has a note of each announcement, so that pruning keeps the blobs that have arrived for it.
A partial blob is a file named by its digest: a client resumes where the file ends. Pruning removes
abandoned notes and parts after a time.

All methods block, so a server calls them on threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path

from dcf.builder.announced import check_files, check_lock
from dcf.builder.blobs import digest_of_file
from dcf.builder.file_lock import locked
from dcf.builder.store import GUARD_OF_STORE, Store, digits
from dcf.errors import StorageError, UploadInvalid
from dcf.files.storage import writing
from dcf.model.artifact import Artifact, Bundle, BundleFile, is_digest
from dcf.model.status import Wanting
from dcf.protocol.json_text import read_json

NOTE_LIFE = 3600.0
"""Seconds after the last byte until pruning may remove an announcement and its blobs."""

PART_LIFE = 86_400.0
"""Seconds after its last byte until pruning may remove a part. A client can resume the next day."""

TOUCH = 60.0
"""Seconds between two updates of a note's time stamp while a blob arrives."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The answer to an announcement.

    Attributes:
        bundle: Digest of the list of files.
        lock: Digest of the lock.
        missing: The blobs to send, each content once.
    """

    bundle: str
    lock: str
    missing: tuple[Wanting, ...]


@dataclass(frozen=True, slots=True)
class _Expected:
    """An announced blob: its size in bytes, and the note of its announcement."""

    size: int
    note: Path


class Part:
    """A blob that arrives; made by :meth:`Uploads.receiving`.

    Attributes:
        offset: Bytes that have arrived.
    """

    def __init__(self, store: Store, digest: str, expected: _Expected, descriptor: int) -> None:
        self.offset = os.lseek(descriptor, 0, os.SEEK_END)
        self._store = store
        self._digest = digest
        self._expected = expected
        self._descriptor = descriptor
        # The hash of a resumed part is unknown, so the whole file is hashed at the end.
        self._hash = hashlib.sha256() if self.offset == 0 else None
        self._touched = time.monotonic()

    def write(self, chunk: bytes) -> None:
        """Append the next bytes.

        Raises:
            UploadInvalid: If there are more bytes than announced; the chunk was not written.
            DiskFull: If no space is left. The written bytes stay, and the client can resume.
            StorageError: If the bytes cannot be written for another reason. The written bytes stay,
                and the client can resume.
        """
        if self.offset + len(chunk) > self._expected.size:
            raise UploadInvalid(
                f"{self._digest}: expected {self._expected.size} bytes, as announced, got more",
                self.offset,
            )
        rest = memoryview(chunk)
        while rest:
            with writing(part_path(self._store, self._digest)):
                written = os.write(self._descriptor, rest)
            if self._hash is not None:
                self._hash.update(rest[:written])
            self.offset += written
            rest = rest[written:]
        if time.monotonic() - self._touched > TOUCH:
            self._touched = time.monotonic()
            _touch(self._expected.note)

    def finish(self) -> bool:
        """Make the part a blob if it is complete; return whether it is.

        Raises:
            UploadInvalid: If the content does not have the announced digest. The part is deleted.
            StorageError: If the blob cannot be stored.
        """
        if self.offset < self._expected.size:
            return False
        blobs, path = self._store.blobs, part_path(self._store, self._digest)
        if blobs.has(self._digest, self._expected.size):
            return True
        actual = self._hashed(path)
        with self._store.guard(GUARD_OF_STORE, shared=True):
            if actual != self._digest:
                path.unlink(missing_ok=True)
                raise UploadInvalid(
                    f"expected the content of {self._digest}, got that of {actual}, which was"
                    " deleted; send it again"
                )
            blobs.adopt(path, self._digest)
        return True

    def _hashed(self, path: Path) -> str:
        if self._hash is None:
            return digest_of_file(path)
        return "sha256:" + self._hash.hexdigest()


class Uploads:
    """Receives the files and locks of functions.

    Args:
        store: Receives bundles, locks and blobs.
        most_bytes: Maximum total bytes of a bundle's files.
        most_files: Maximum number of files in a bundle.
    """

    def __init__(self, store: Store, *, most_bytes: int, most_files: int) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._expected: dict[str, _Expected] = {}

    def announce(self, files: Sequence[BundleFile], lock: str) -> Announced:
        """Store a bundle's list of files and its lock; return the missing contents.

        A client repeats it to learn what is still missing. The blobs are kept for an hour after the
        last byte, or as long as a deployed revision needs them.

        Args:
            files: The bundle's files, in any order.
            lock: The lock's text.

        Raises:
            BundleInvalid: If the files cannot form a bundle, or exceed a limit.
            StorageError: If the list or the lock cannot be written.
        """
        check_files(files, self._most_bytes, self._most_files)
        check_lock(lock)
        store = self._store
        bundle = Bundle(tuple(sorted(files, key=attrgetter("path"))))
        with store.guard(GUARD_OF_STORE, shared=True):
            artifact = Artifact(store.put_bundle(bundle), store.put_lock(lock))
            note = store.uploads / f"{digits(artifact.digest)}.json"
            store.write(note, json.dumps(asdict(artifact)).encode())
            missing = self._missing(bundle)
        if len(self._expected) > self._most_files:
            self._expected = {}  # a cache: the notes have the rest
        self._expected.update((blob.digest, _Expected(blob.size, note)) for blob in missing)
        return Announced(artifact.bundle, artifact.lock, missing)

    @contextmanager
    def receiving(self, digest: str, offset: int) -> Iterator[Part]:
        """Open the part of a blob, to append to it; see :class:`Part`.

        The written bytes stay, even if the block raises. A blob that is already complete accepts no
        more bytes, and is finished.

        Args:
            digest: Digest of an announced blob.
            offset: Byte at which the client resumes: the number of bytes that have arrived.

        Raises:
            UploadInvalid: If the digest was not announced, the offset does not match, or another
                client is sending the same blob.
            StorageError: If the part cannot be written.
        """
        with ExitStack() as opened:
            with self._store.guard(GUARD_OF_STORE, shared=True):
                expected = self._find(digest)
                part = Part(self._store, digest, expected, self._open(digest, expected, opened))
            if offset != part.offset:
                raise UploadInvalid(
                    f"{digest}: expected the bytes from {part.offset} on, got bytes from {offset}"
                    " on",
                    part.offset,
                )
            yield part

    def _missing(self, bundle: Bundle) -> tuple[Wanting, ...]:
        parts = {path.stem: _size(path) for path in self._store.uploads.glob("*.part")}
        sizes = {file.digest: file.size for file in bundle.files}
        missing: list[Wanting] = []
        for digest, size in sizes.items():
            if not self._store.blobs.has(digest, size):
                arrived = parts.get(digits(digest), 0)
                missing.append(Wanting(digest, size, arrived if arrived <= size else 0))
        return tuple(missing)

    def _find(self, digest: str) -> _Expected:
        if digest not in self._expected:
            self._expected = self._read_notes()
        expected = self._expected.get(digest)
        if expected is None or not _touch(expected.note):
            raise UploadInvalid(
                f"expected the digest of an announced blob, got {digest}, which was not announced"
                " or whose announcement has expired; announce it again"
            )
        return expected

    def _read_notes(self) -> dict[str, _Expected]:
        """Return the blobs of all notes, including those of a process that has ended."""
        expected: dict[str, _Expected] = {}
        for note, artifact in _notes(self._store):
            with suppress(StorageError):
                for file in self._store.bundle(artifact.bundle).files:
                    expected[file.digest] = _Expected(file.size, note)
        return expected

    def _open(self, digest: str, expected: _Expected, opened: ExitStack) -> int:
        """Return a descriptor of the blob, or of its part, which is then locked."""
        blobs = self._store.blobs
        if blobs.has(digest, expected.size):
            return opened.enter_context(blobs.path(digest).open("rb")).fileno()
        path = part_path(self._store, digest)
        try:
            descriptor = opened.enter_context(locked(path, wait=False))
        except BlockingIOError:
            raise UploadInvalid(
                f"another client is sending {digest}; announce again to see what is missing",
                _size(path),
            ) from None
        if os.fstat(descriptor).st_size > expected.size:
            os.ftruncate(descriptor, 0)  # an earlier announcement had another size
        return descriptor


def awaited(store: Store) -> list[Artifact]:
    """Return the announced artifacts that may still be deployed."""
    return [artifact for note, artifact in _notes(store) if not _is_over(note)]


def given_up(store: Store) -> list[Path]:
    """Return the abandoned notes and parts."""
    return sorted(path for path in store.uploads.iterdir() if _is_over(path))


def part_path(store: Store, digest: str) -> Path:
    """Return the path of a blob's part, which may not exist."""
    return store.uploads / f"{digits(digest)}.part"


def _notes(store: Store) -> Iterator[tuple[Path, Artifact]]:
    for note in sorted(store.uploads.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            artifact = Artifact(**read_json(note.read_bytes()))
            if is_digest(artifact.bundle) and is_digest(artifact.lock):
                yield note, artifact


def _is_over(path: Path) -> bool:
    life = NOTE_LIFE if path.suffix == ".json" else PART_LIFE
    return time.time() - path.stat().st_mtime > life


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _touch(note: Path) -> bool:
    """Update a note's time stamp; return whether the note still exists."""
    try:
        os.utime(note)
    except FileNotFoundError:
        return False
    return True
