"""From a revision to a folder that a replica can be started in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from dcf.builder.builder import Builder
from dcf.builder.checkout import checkout
from dcf.builder.store import Store
from dcf.engines.base import ReplicaSpec
from dcf.errors import SecretNotFound
from dcf.files.storage import writing
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.model.revision import Revision
from dcf.protocol import call_table
from dcf.settings import SOCKET_PATH_LIMIT, WatcherSettings


class ReplicaFiles:
    """Lays replicas out, one folder for each, and clears away after them. All methods block."""

    def __init__(
        self,
        store: Store,
        builder: Builder,
        *,
        replicas: Path,
        sockets: Path,
        secrets: Path,
        calls: Path,
        settings: WatcherSettings,
        extra: Mapping[str, str],
    ) -> None:
        """A stager of nothing yet.

        Args:
            store: Holds what is deployed.
            builder: Makes environments that are missing.
            replicas: Folder for the replicas' folders; on the store's file system, so that large
                files can be links.
            sockets: Private folder for their sockets.
            secrets: Folder of secret files.
            calls: Folder of the call tables of all replicas.
            settings: How every watcher is to behave, as far as its function does not say.
            extra: Variables of the framework's own that every replica gets.
        """
        self._store = store
        self._builder = builder
        self._replicas = replicas
        self._sockets = sockets
        self._secrets = secrets
        self._calls = calls
        self._settings = settings
        self._extra = dict(extra)
        self._own: set[ReplicaId] = set()

    def check(self, spec: FunctionSpec) -> None:
        """Looks whether all is here that a replica needs beside its files.

        Raises:
            SecretNotFound: When a secret is not.
        """
        for name in spec.secrets:
            if not (self._secrets / name).is_file():
                raise SecretNotFound(name, self._secrets / name)

    def stage(self, replica: ReplicaId, revision: Revision) -> ReplicaSpec:
        """Lays a replica out.

        Raises:
            BuildError: When its environment is missing and cannot be made again.
            SecretNotFound: When a secret is missing.
            StorageError: When the disk does not take it. Nothing is left of it then.
        """
        spec = revision.spec
        self.check(spec)
        self._own.add(replica)
        environment = self._builder.build_artifact(revision.artifact, spec)
        folder = self._replicas / replica
        try:
            with writing(folder):
                folder.mkdir(parents=True, mode=0o700)
            checkout(self._store, revision.artifact.bundle, folder / "source")
            secrets = self._link_secrets(spec, folder)
        except BaseException:
            self.clear(replica)
            raise
        return ReplicaSpec(
            id=replica,
            function=spec.name,
            revision=revision.number,
            python=environment.python,
            source=folder / "source",
            settings=self._settings_of(spec, replica),
            environment=dict(spec.environment),
            extra=self._extra,
            secrets=secrets,
            limits=spec.limits,
            requests=spec.requests,
        )

    def hand_over(self, replica: ReplicaId) -> None:
        """From now on, whether a replica lives is the engine's to tell."""
        self._own.discard(replica)

    def clear(self, replica: ReplicaId) -> None:
        """Removes what is left of a replica."""
        shutil.rmtree(self._replicas / replica, ignore_errors=True)
        self._own.discard(replica)

    def sweep(self, alive: Collection[ReplicaId]) -> None:
        """Removes the folders of replicas that neither live nor are being laid out."""
        if self._replicas.is_dir():
            for folder in self._replicas.iterdir():
                replica = ReplicaId(folder.name)
                if replica not in alive and replica not in self._own:
                    shutil.rmtree(folder, ignore_errors=True)
        if self._calls.is_dir():
            for folder in self._calls.iterdir():
                call_table.clean(folder)

    def _settings_of(self, spec: FunctionSpec, replica: ReplicaId) -> WatcherSettings:
        given = {
            name: value
            for name in ("timeout", "idle_timeout", "concurrency", "queue", "preflight")
            if (value := getattr(spec, name)) is not None
        }
        return replace(
            self._settings,
            # The folder that its author knows is on another machine, perhaps; its name is known.
            origin=spec.name,
            handler_dir=spec.handler.dir,
            handler_file=spec.handler.file,
            handler_name=spec.handler.name,
            listen=self._listen(replica),
            call_table=str(self._calls / spec.name / replica),
            **given,
        )

    def _listen(self, replica: ReplicaId) -> str:
        """A Unix socket, where its path is short enough."""
        # The end of an id is random: enough for a name that is unique.
        socket = self._sockets / f"{replica[-8:]}.sock"
        fits = len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT
        return f"unix:{socket}" if fits else "tcp:127.0.0.1:0"

    def _link_secrets(self, spec: FunctionSpec, folder: Path) -> Path | None:
        """A folder with the function's secrets alone, as links: no secret is copied."""
        if not spec.secrets:
            return None
        place = folder / "secrets"
        with writing(place):
            place.mkdir(mode=0o700)
            for name in spec.secrets:
                (place / name).symlink_to((self._secrets / name).resolve())
        return place
