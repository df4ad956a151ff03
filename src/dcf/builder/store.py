"""The place that holds all that builds make.

::

    blobs/sha256/ab/<digits>   the files' contents
    bundles/<digits>.json      lists of files
    locks/<digits>.txt         locks
    environments/<key>/        interpreters with their packages
    environments/<key>.json    the marker: that environment is whole; written last
    folders/<id>.json          what is known of each function's folder
    uploads/<digits>.json      bundles that are being uploaded
    uploads/<digits>.part      blobs of which the rest is still to come
    deployed/<digits>-<key>.json   what a gateway needs
    guards/                    lock files
    tmp/                       work in progress

What has a digest for a name never changes. Everything else is replaced as a whole, never written
in place, so that a process may be killed at any instant.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from dcf.builder.blobs import Blobs
from dcf.builder.file_lock import locked
from dcf.errors import StorageError
from dcf.files.atomic import replace_file
from dcf.files.storage import private_folder, writing
from dcf.model.artifact import Bundle, digest_of, is_digest
from dcf.protocol.json_text import read_json
from dcf.settings import Locations

GUARD_OF_STORE = "store"
"""Builds share it; pruning has it alone, so that it never removes what a build just found."""

WAITING_FOR_PRUNING = "Waiting for a prune of the store"
"""Notice of a build that waits for a prune."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What is known of an environment that is whole.

    Attributes:
        size: Bytes of its files, those that uv's cache shares included.
        created: Seconds since the epoch.
        interpreter: The interpreter's path.
        lock: Digest of the lock that it was first made for.
    """

    size: int
    created: float
    interpreter: str
    lock: str


_MARKER = {"size": int, "created": int | float, "interpreter": str, "lock": str}
"""The members of a marker file."""


def keep_private(places: Locations) -> None:
    """Make the data directory, and the folders of functions in it, accessible only to the owner.

    Raises:
        StorageError: If that fails.
    """
    private_folder(places.data)
    for folder in (places.store, places.replicas, places.workspaces, places.gateway):
        if folder.exists():
            private_folder(folder)


class Store:
    """A store on disk; made when it is not there.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / "tmp"
        self.blobs = Blobs(root / "blobs" / "sha256", self.scratch)
        self.environments = root / "environments"
        self.bundles = root / "bundles"
        self.locks = root / "locks"
        self.folders = root / "folders"
        self.uploads = root / "uploads"
        self.deployed = root / "deployed"
        self.guards = root / "guards"
        private_folder(root)
        with writing(root):
            for place in (
                self.scratch,
                self.environments,
                self.bundles,
                self.locks,
                self.folders,
                self.uploads,
                self.deployed,
                self.guards,
            ):
                place.mkdir(parents=True, exist_ok=True)

    @classmethod
    def at(cls, places: Locations) -> Self:
        """Return the store of a data directory, and make the directory private to its owner."""
        keep_private(places)
        return cls(places.store)

    # Files

    def write(self, path: Path, data: bytes) -> None:
        """Replaces a file as a whole.

        Raises:
            StorageError: When it cannot be written.
        """
        with writing(path):
            replace_file(path, data, scratch=self.scratch)

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A new folder that is gone after the block."""
        with writing(self.scratch):
            place = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    # Bundles and locks

    def put_bundle(self, bundle: Bundle) -> str:
        """Keeps a list of files and returns its digest."""
        return self._put(self.bundles, ".json", bundle.to_json())

    def bundle(self, digest: str) -> Bundle:
        """A list of files by its digest.

        Raises:
            StorageError: When the store does not have it.
        """
        return Bundle.from_json(self._get(self.bundles, ".json", digest))

    def put_lock(self, text: str) -> str:
        """Keeps a lock and returns its digest."""
        return self._put(self.locks, ".txt", text.encode())

    def lock(self, digest: str) -> str:
        """A lock's text by its digest.

        Raises:
            StorageError: When the store does not have it.
        """
        return self._get(self.locks, ".txt", digest).decode()

    def _put(self, place: Path, suffix: str, data: bytes) -> str:
        digest = digest_of(data)
        path = place / (digits(digest) + suffix)
        if not path.exists():
            self.write(path, data)
        return digest

    def _get(self, place: Path, suffix: str, digest: str) -> bytes:
        if not is_digest(digest):
            raise StorageError(f"{digest!r} is no digest")
        path = place / (digits(digest) + suffix)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{digest} is not in the store: {error.strerror}") from error
        if digest_of(data) != digest:
            path.unlink(missing_ok=True)
            raise StorageError(f"{digest} was damaged in the store; it was removed")
        return data

    # Environments

    def marker_path(self, key: str) -> Path:
        """Where an environment's marker is, or would be."""
        return self.environments / f"{key}.json"

    def marker(self, key: str) -> Marker | None:
        """What is known of an environment; None when it is not whole."""
        try:
            members = read_json(self.marker_path(key).read_bytes())
            if not all(isinstance(members[name], kind) for name, kind in _MARKER.items()):
                return None
            return Marker(**members)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def mark(self, key: str, marker: Marker) -> None:
        """Declares an environment whole."""
        self.write(self.marker_path(key), json.dumps(asdict(marker)).encode())

    # Guards

    def guard(
        self,
        name: str,
        *,
        shared: bool = False,
        wait: bool = True,
        on_wait: Callable[[], None] | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> AbstractContextManager[int]:
        """Hold one of the store's locks among processes; see :func:`.file_lock.locked`."""
        path = self.guards / f"{name}.lock"
        return locked(path, shared=shared, wait=wait, on_wait=on_wait, pause=pause)

    @contextmanager
    def hold(self, name: str) -> Iterator[int]:
        """Keeps pruning away from an environment (by key) or a bundle (by digest).

        Gives a descriptor: a process that inherits it (``pass_fds``) holds on as long as it lives.

        Raises:
            StorageError: When it was pruned before it could be held.
        """
        with self.guard(use_guard(name), shared=True) as descriptor:
            path = self.bundles / f"{digits(name)}.json" if ":" in name else self.marker_path(name)
            if not path.exists():
                raise StorageError(f"{name} is no longer in the store; it must be built again")
            yield descriptor

    def is_held(self, name: str) -> bool:
        """Whether anybody holds it."""
        try:
            with self.guard(use_guard(name), wait=False):
                return False
        except BlockingIOError:
            return True


def digits(digest: str) -> str:
    """A digest without its algorithm, for file names."""
    return digest.removeprefix("sha256:")


def use_guard(name: str) -> str:
    """Name of the guard that whoever uses an environment or a bundle shares."""
    return f"use-{digits(name)}"


def make_guard(key: str) -> str:
    """Name of the guard that whoever makes an environment has alone."""
    return f"make-{key}"
