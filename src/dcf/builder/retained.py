"""Records what a gateway needs of the store. Neither pruning nor the store's limit removes that.

Each entry is a separate file. So a kill never leaves half an entry, and two processes can write
without coordination.
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
"""Maximum seconds from the end of a build until the catalog records that its artifact is in use.
That takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class RetainedEntry:
    """One artifact in one environment.

    Attributes:
        artifact: Bundle and lock.
        environment: Key of the environment.
    """

    artifact: Artifact
    environment: str


class RetainedArtifacts:
    """The entries of a store.

    An artifact has another entry if it was built again for another environment, for example after
    an upgrade of DCF: replicas may still run in the previous environment.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, artifact: Artifact, environment: str) -> None:
        """Keep an artifact and its environment. Both must be in the store.

        Args:
            artifact: Bundle and lock.
            environment: Key of the environment.

        Raises:
            StorageError: If the environment, the bundle or the lock is not in the store, or the
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
        """Drop the entries of all other artifacts. The next prune then frees what they kept.

        An entry that was just added stays: the catalog may not have its revision yet.

        Args:
            artifacts: Artifacts that run or may still be started.

        Raises:
            StorageError: If an entry cannot be removed.
        """
        kept = {digits(artifact.digest) for artifact in artifacts}
        for path in self._paths():
            if path.stem.partition("-")[0] not in kept and _age(path) > SETTLING:
                with writing(path):
                    path.unlink(missing_ok=True)

    def entries(self) -> tuple[RetainedEntry, ...]:
        """Return every entry. A damaged file is skipped."""
        entries = (_read(path) for path in self._paths())
        return tuple(entry for entry in entries if entry is not None)

    def _path(self, artifact: Artifact, environment: str) -> Path:
        return self._store.deployed / f"{digits(artifact.digest)}-{environment}.json"

    def _paths(self) -> list[Path]:
        return sorted(self._store.deployed.glob("*.json"))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another process has removed it
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
