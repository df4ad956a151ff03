"""What clients send to be deployed: announced first, then received blob by blob.

A note in the store tells of each announcement, so that pruning leaves what has come for it. A blob
of which the rest is still to come is a file named by its digest: whoever was killed or cut off goes
on where it ends. Whatever is left lying is removed by pruning, in time.

Everything here blocks; whoever serves many calls it on threads.
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
from dcf.builder.disk import writing
from dcf.builder.guard import locked
from dcf.builder.store import GUARD_OF_STORE, Store, digits
from dcf.errors import StorageError, UploadInvalid
from dcf.model.artifact import Artifact, Bundle, BundleFile, is_digest
from dcf.model.status import MissingBlob
from dcf.protocol.json_text import read_json

NOTE_LIFE = 3600.0
"""Seconds without a byte after which an announcement no longer keeps what has come for it."""

PART_LIFE = 86_400.0
"""Seconds after which a part that did not grow goes: tomorrow's next try still finds it."""

TOUCH = 60.0
"""Seconds between two marks of life on a note while a blob comes in."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The answer to an announcement.

    Attributes:
        bundle: Digest of the list of files.
        lock: Digest of the lock.
        missing: What has to be sent, each content once.
    """

    bundle: str
    lock: str
    missing: tuple[MissingBlob, ...]


@dataclass(frozen=True, slots=True)
class _Expected:
    """A blob that was announced: its size in bytes, and the note that tells of it."""

    size: int
    note: Path


class Part:
    """A blob that comes in; made by :meth:`Uploads.receiving`.

    Attributes:
        offset: Bytes that are here.
    """

    def __init__(self, store: Store, digest: str, expected: _Expected, descriptor: int) -> None:
        self.offset = os.lseek(descriptor, 0, os.SEEK_END)
        self._store = store
        self._digest = digest
        self._expected = expected
        self._descriptor = descriptor
        # What a resumed part begins with was hashed by somebody else: it is read again at the end.
        self._hash = hashlib.sha256() if self.offset == 0 else None
        self._touched = time.monotonic()

    def write(self, chunk: bytes) -> None:
        """Takes what comes next.

        Raises:
            UploadInvalid: When it is more than was announced; nothing of it was taken.
            DiskFull: When no space is left. What found space stays, and sending may go on there.
            StorageError: When it cannot be written for another reason; likewise.
        """
        if self.offset + len(chunk) > self._expected.size:
            raise UploadInvalid(
                f"{self._digest} was announced with {self._expected.size} bytes; more were sent",
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
        """Makes it a blob if all of it is here, and tells whether it is.

        Raises:
            UploadInvalid: When the content is not that of the digest. It was dropped.
            StorageError: When it cannot be stored.
        """
        if self.offset < self._expected.size:
            return False
        blobs, path = self._store.blobs, part_path(self._store, self._digest)
        if blobs.has(self._digest, self._expected.size):
            return True
        found = self._hashed(path)
        with self._store.guard(GUARD_OF_STORE, shared=True):
            if found != self._digest:
                path.unlink(missing_ok=True)
                raise UploadInvalid(f"what was sent for {self._digest} is {found}; it was dropped")
            blobs.adopt(path, self._digest)
        return True

    def _hashed(self, path: Path) -> str:
        if self._hash is None:
            return digest_of_file(path)
        return "sha256:" + self._hash.hexdigest()


class Uploads:
    """Receives what is to be deployed.

    Args:
        store: Where it goes.
        most_bytes: That the files of one bundle may have in all.
        most_files: How many files one bundle may have.
    """

    def __init__(self, store: Store, *, most_bytes: int, most_files: int) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._expected: dict[str, _Expected] = {}

    def announce(self, files: Sequence[BundleFile], lock: str) -> Announced:
        """Stores the list and the lock of a bundle, and tells which contents are missing.

        To be repeated whenever a client wants to know what is still missing. What comes is kept
        for an hour after the last byte, until somebody deploys it.

        Args:
            files: The bundle's, in any order.
            lock: Text of the lock.

        Raises:
            BundleInvalid: When they cannot be a bundle, or are more than is allowed.
            StorageError: When they cannot be written.
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
            self._expected = {}  # the notes know the rest
        self._expected.update((one.digest, _Expected(one.size, note)) for one in missing)
        return Announced(artifact.bundle, artifact.lock, missing)

    @contextmanager
    def receiving(self, digest: str, offset: int) -> Iterator[Part]:
        """Opens what is here of a blob for what comes next; see :class:`Part`.

        However the block ends, what was written stays. One that is whole already takes no more
        bytes and is finished.

        Args:
            digest: One that was announced.
            offset: Where the sender goes on, in bytes: at the end of what is here.

        Raises:
            UploadInvalid: When the digest was not announced, the offset is another, or somebody
                else sends the same blob just now.
            StorageError: When it cannot be written.
        """
        with ExitStack() as opened:
            with self._store.guard(GUARD_OF_STORE, shared=True):
                expected = self._find(digest)
                part = Part(self._store, digest, expected, self._open(digest, expected, opened))
            if offset != part.offset:
                raise UploadInvalid(
                    f"{digest} goes on at byte {part.offset}, not at {offset}", part.offset
                )
            yield part

    def _missing(self, bundle: Bundle) -> tuple[MissingBlob, ...]:
        parts = {path.stem: _size(path) for path in self._store.uploads.glob("*.part")}
        sizes = {file.digest: file.size for file in bundle.files}
        found: list[MissingBlob] = []
        for digest, size in sizes.items():
            if not self._store.blobs.has(digest, size):
                here = parts.get(digits(digest), 0)
                found.append(MissingBlob(digest, size, here if here <= size else 0))
        return tuple(found)

    def _find(self, digest: str) -> _Expected:
        if digest not in self._expected:
            self._expected = self._recall()
        expected = self._expected.get(digest)
        if expected is None or not _touch(expected.note):
            raise UploadInvalid(f"{digest} was not announced, or too long ago; announce it again")
        return expected

    def _recall(self) -> dict[str, _Expected]:
        """What the notes tell, those of a process included that is no more."""
        found: dict[str, _Expected] = {}
        for note, artifact in _notes(self._store):
            with suppress(StorageError):
                for file in self._store.bundle(artifact.bundle).files:
                    found[file.digest] = _Expected(file.size, note)
        return found

    def _open(self, digest: str, expected: _Expected, opened: ExitStack) -> int:
        """A descriptor of what is here, its part locked against other senders."""
        blobs = self._store.blobs
        if blobs.has(digest, expected.size):
            return opened.enter_context(blobs.path(digest).open("rb")).fileno()
        path = part_path(self._store, digest)
        try:
            descriptor = opened.enter_context(locked(path, wait=False))
        except BlockingIOError:
            raise UploadInvalid(f"somebody else is sending {digest}", _size(path)) from None
        if os.fstat(descriptor).st_size > expected.size:
            os.ftruncate(descriptor, 0)  # it was announced with another size before
        return descriptor


def awaited(store: Store) -> list[Artifact]:
    """What was announced and may still be deployed."""
    return [artifact for note, artifact in _notes(store) if not _is_over(note)]


def given_up(store: Store) -> list[Path]:
    """Notes and parts that nobody came back to in time."""
    return sorted(path for path in store.uploads.iterdir() if _is_over(path))


def part_path(store: Store, digest: str) -> Path:
    """Where a blob is as long as it is not whole."""
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
    """Marks a note as alive; whether it is still there."""
    try:
        os.utime(note)
    except FileNotFoundError:
        return False
    return True
