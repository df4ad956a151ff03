"""What a gateway needs of the store, so that neither pruning nor the store's bound takes it.

Each entry is a file of its own: it is there or it is not, whoever is killed, and two processes that
write need not know of each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path

from dcf.builder.store import GUARD_OF_STORE, Store, digits
from dcf.errors import StorageError
from dcf.files.storage import writing
from dcf.model.artifact import Artifact, is_digest
from dcf.protocol.json_text import read_json

SETTLING = 60.0
"""Seconds between the end of a build and the note elsewhere that its artifact is in use, at most;
it takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class RetainedEntry:
    """One artifact in one environment.

    Attributes:
        artifact: What is laid out and run.
        environment: Key of what it runs in.
    """

    artifact: Artifact
    environment: str


class RetainedArtifacts:
    """The entries of a store.

    An artifact has a further entry when it was built again for another environment, after an
    upgrade of DCF for one: replicas may still run in the one before.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, artifact: Artifact, environment: str) -> None:
        """Keeps an artifact and its environment from now on; both must be there.

        Args:
            artifact: What is to run.
            environment: Key of what it is to run in.

        Raises:
            StorageError: When the environment, the bundle or the lock is not in the store, or the
                entry cannot be written.
        """
        store = self._store
        with store.guard(GUARD_OF_STORE, shared=True):
            if store.marker(environment) is None:
                raise StorageError(f"{environment} is no longer in the store; deploy again")
            store.bundle(artifact.bundle)
            store.lock(artifact.lock)
            members = {**asdict(artifact), "environment": environment}
            store.write(self._path(artifact, environment), json.dumps(members).encode())

    def keep_only(self, artifacts: AbstractSet[Artifact]) -> None:
        """Forgets every entry of another artifact. What it kept goes when the store is pruned.

        One that was added just now stays: whoever deploys it may not have noted it elsewhere yet.

        Args:
            artifacts: What may still be started or runs.

        Raises:
            StorageError: When an entry cannot be removed.
        """
        kept = {digits(artifact.digest) for artifact in artifacts}
        for path in self._paths():
            if path.stem.partition("-")[0] not in kept and _age(path) > SETTLING:
                with writing(path):
                    path.unlink(missing_ok=True)

    def entries(self) -> tuple[RetainedEntry, ...]:
        """Every entry. A file that is none is passed over."""
        found = (_read(path) for path in self._paths())
        return tuple(entry for entry in found if entry is not None)

    def _path(self, artifact: Artifact, environment: str) -> Path:
        return self._store.deployed / f"{digits(artifact.digest)}-{environment}.json"

    def _paths(self) -> list[Path]:
        return sorted(self._store.deployed.glob("*.json"))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another has removed it
        return 0.0


def _read(path: Path) -> RetainedEntry | None:
    try:
        members = read_json(path.read_bytes())
        artifact, environment = Artifact(members["bundle"], members["lock"]), members["environment"]
        is_sound = is_digest(artifact.bundle) and is_digest(artifact.lock)
        return (
            RetainedEntry(artifact, environment)
            if is_sound and isinstance(environment, str)
            else None
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
