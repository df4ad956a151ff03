"""Stores everything that builds make.

::

    blobs/sha256/ab/<digits>   contents of files
    bundles/<digits>.json      lists of files
    locks/<digits>.txt         locks
    environments/<key>/        interpreters with their packages
    environments/<key>.json    markers of complete environments; written last
    folders/<id>.json          records of functions' folders
    uploads/<digits>.json      notes of announced bundles
    uploads/<digits>.part      blobs that have arrived in part
    deployed/<digits>-<key>.json   artifacts and environments that a gateway needs
    guards/                    lock files
    tmp/                       temporary files

A file that is named by its digest never changes. All other files are replaced atomically, so a
process may be killed at any time.
"""

from __future__ import annotations

import json
import os
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
from dcf.files.storage import private_folder, writing
from dcf.model.artifact import Bundle, digest_of, is_digest
from dcf.protocol.json_text import read_json
from dcf.settings import Locations

GUARD_OF_STORE = "store"
"""Builds hold it shared and pruning holds it exclusively, so that pruning never removes what a
running build uses."""

DIGEST_FORM = "a digest (sha256: and 64 lowercase hex digits)"
"""The form of a digest, for messages."""

WAITING_FOR_PRUNING = "Waiting for a prune of the store"
"""Notice of a build that waits for a prune."""


@dataclass(frozen=True, slots=True)
class Marker:
    """The marker of a complete environment.

    Attributes:
        size: Bytes of the environment's files, including those that it shares with uv's cache.
        created: Seconds since the epoch.
        interpreter: The interpreter's path.
        lock: Digest of the lock that the environment was first made for.
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
    """A store on disk. It is created if it is missing.

    Args:
        root: The store's folder.
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
        """Replace a file atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        with writing(path):
            descriptor, name = tempfile.mkstemp(dir=self.scratch)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                os.replace(name, path)  # noqa: PTH105  the name is a string already
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Yield a new folder, which is removed after the block."""
        with writing(self.scratch):
            place = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    # Bundles and locks

    def put_bundle(self, bundle: Bundle) -> str:
        """Store a bundle's list of files and return its digest."""
        return self._put(self.bundles, ".json", bundle.to_json())

    def bundle(self, digest: str) -> Bundle:
        """Return a bundle's list of files.

        Raises:
            StorageError: If the store does not have it.
        """
        return Bundle.from_json(self._get(self.bundles, ".json", digest))

    def put_lock(self, text: str) -> str:
        """Store a lock and return its digest."""
        return self._put(self.locks, ".txt", text.encode())

    def lock(self, digest: str) -> str:
        """Return a lock's text.

        Raises:
            StorageError: If the store does not have it.
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
            raise StorageError(f"expected {DIGEST_FORM}, got {digest!r}")
        path = place / (digits(digest) + suffix)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{digest} is not in the store: {error.strerror}") from error
        if digest_of(data) != digest:
            path.unlink(missing_ok=True)
            raise StorageError(
                f"expected the content of {digest} in the store, got damaged content, which was"
                " removed; build or deploy again"
            )
        return data

    # Environments

    def marker_path(self, key: str) -> Path:
        """Return the path of an environment's marker, which may not exist."""
        return self.environments / f"{key}.json"

    def marker(self, key: str) -> Marker | None:
        """Return the marker of an environment; None if the environment is not complete."""
        try:
            members = read_json(self.marker_path(key).read_bytes())
            if not all(isinstance(members[name], kind) for name, kind in _MARKER.items()):
                return None
            return Marker(**members)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def mark(self, key: str, marker: Marker) -> None:
        """Mark an environment as complete."""
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
        """Hold a lock file of the store; see :func:`.file_lock.locked`."""
        path = self.guards / f"{name}.lock"
        return locked(path, shared=shared, wait=wait, on_wait=on_wait, pause=pause)

    @contextmanager
    def hold(self, name: str) -> Iterator[int]:
        """Protect an environment (by key) or a bundle (by digest) from pruning.

        Yields a descriptor. A process that inherits it (``pass_fds``) keeps the protection until it
        ends.

        Raises:
            StorageError: If the item was pruned before.
        """
        with self.guard(use_guard(name), shared=True) as descriptor:
            path = self.bundles / f"{digits(name)}.json" if ":" in name else self.marker_path(name)
            if not path.exists():
                raise StorageError(f"{name} is no longer in the store; build it again")
            yield descriptor

    def is_held(self, name: str) -> bool:
        """Return whether a process holds an environment or a bundle."""
        try:
            with self.guard(use_guard(name), wait=False):
                return False
        except BlockingIOError:
            return True


def digits(digest: str) -> str:
    """Return a digest without its algorithm, for file names."""
    return digest.removeprefix("sha256:")


def use_guard(name: str) -> str:
    """Return the name of the guard that users of an environment or a bundle share."""
    return f"use-{digits(name)}"


def make_guard(key: str) -> str:
    """Return the name of the guard that the build of an environment holds exclusively."""
    return f"make-{key}"
