"""From an artifact to a folder that a replica can be started in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dcf.builder.build_progress import Listener
from dcf.builder.checkout import checkout
from dcf.builder.environment import Environment
from dcf.builder.store import Store
from dcf.builder.uv import BuildStop
from dcf.engines.base import ReplicaSpec
from dcf.errors import SecretNotFound
from dcf.files.storage import writing
from dcf.model.artifact import Artifact
from dcf.model.endpoint import Endpoint
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.protocol import call_table
from dcf.settings import SOCKET_PATH_LIMIT


class EnvironmentSource(Protocol):
    """Provides the environments of artifacts, such as ``dcf.builder.builder.Builder``."""

    def build_artifact(
        self,
        artifact: Artifact,
        spec: FunctionSpec,
        *,
        listener: Listener | None = None,
        stop: BuildStop | None = None,
    ) -> Environment:
        """Return the environment of an artifact; make it if it is missing."""


@dataclass(frozen=True, slots=True)
class ReplicaLayout:
    """Where one replica's files are.

    Attributes:
        python: Interpreter of the function's environment.
        source: The function's files, the replica's own copy.
        listen: Where the watcher listens, as in ``WatcherSettings.listen``.
        call_table: As in ``WatcherSettings.call_table``.
        secrets: Folder with the replica's secrets, one file each; None without any.
    """

    python: Path
    source: Path
    listen: str
    call_table: str = ""
    secrets: Path | None = None


class ReplicaFiles:
    """Creates and removes the folders of replicas, one for each. All methods block."""

    def __init__(
        self,
        store: Store,
        environments: EnvironmentSource,
        *,
        replicas: Path,
        sockets: Path,
        secrets: Path,
        calls: Path | None = None,
    ) -> None:
        """Create no folder yet.

        Args:
            store: Holds the artifacts.
            environments: Provides their environments.
            replicas: Folder for the replicas' folders; on the store's file system, so that large
                files can be links.
            sockets: Private folder for their sockets.
            secrets: Folder of secret files.
            calls: Folder of the call tables of all replicas; None if calls do not move.
        """
        self._store = store
        self._environments = environments
        self._replicas = replicas
        self._sockets = sockets
        self._secrets = secrets
        self._calls = calls

    def check(self, secrets: Collection[str]) -> None:
        """Check that all secrets exist.

        Raises:
            SecretNotFound: If a secret is missing.
        """
        for name in secrets:
            if not (self._secrets / name).is_file():
                raise SecretNotFound(name, self._secrets / name)

    def environment(
        self,
        artifact: Artifact,
        function: FunctionSpec,
        *,
        listener: Listener | None = None,
        stop: BuildStop | None = None,
    ) -> Environment:
        """Return an artifact's environment. Build it if it is missing.

        Raises:
            BuildError: If the environment cannot be built.
            StorageError: If the environment cannot be written to the disk.
        """
        return self._environments.build_artifact(artifact, function, listener=listener, stop=stop)

    def lay_out(self, spec: ReplicaSpec) -> ReplicaLayout:
        """Create a replica's folder. It replaces a folder that an ended replica has left.

        Raises:
            BuildError: If the environment is missing and cannot be built.
            SecretNotFound: If a secret is missing.
            StorageError: If the folder cannot be written. No part of it remains.
        """
        self.check(spec.secrets)
        environment = self.environment(spec.artifact, spec.spec)
        folder = self._replicas / spec.id
        self.remove(spec.id)
        try:
            with writing(folder):
                folder.mkdir(parents=True, mode=0o700)
            checkout(self._store, spec.artifact.bundle, folder / "source")
            secrets = self._link_secrets(spec.secrets, folder)
        except BaseException:
            self.remove(spec.id)
            raise
        calls = self._calls
        return ReplicaLayout(
            python=environment.python,
            source=folder / "source",
            listen=self._listen(spec.id),
            call_table=str(calls / spec.function / spec.id) if calls else "",
            secrets=secrets,
        )

    def remove(self, replica: ReplicaId) -> None:
        """Remove a replica's folder; do nothing if there is none."""
        shutil.rmtree(self._replicas / replica, ignore_errors=True)

    def existing(self) -> set[ReplicaId]:
        """Return the replicas that have a folder."""
        if not self._replicas.is_dir():
            return set()
        return {ReplicaId(folder.name) for folder in self._replicas.iterdir()}

    def clean_call_tables(self) -> None:
        """Remove the call tables of replicas that have ended."""
        if self._calls is not None and self._calls.is_dir():
            for folder in self._calls.iterdir():
                call_table.clean(folder)

    def _listen(self, replica: ReplicaId) -> str:
        """Return a Unix socket, or a loopback port where the socket's path would be too long."""
        socket = socket_of(self._sockets, replica)
        fits = len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT
        return str(Endpoint(path=str(socket)) if fits else Endpoint(host="127.0.0.1"))

    def _link_secrets(self, secrets: Collection[str], folder: Path) -> Path | None:
        """Create a folder with links to these secrets only. No secret is copied."""
        if not secrets:
            return None
        place = folder / "secrets"
        with writing(place):
            place.mkdir(mode=0o700)
            for name in secrets:
                (place / name).symlink_to((self._secrets / name).resolve())
        return place


def socket_of(sockets: Path, replica: str) -> Path:
    """Return the path of a replica's socket."""
    # The end of an id is random: enough for a unique name.
    return sockets / f"{replica[-8:]}.sock"
