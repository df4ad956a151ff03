"""The local engine of one command: its supervisor is in the command's process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path

from dcf.builder.store import Store
from dcf.engines.local.cgroups import Cgroups
from dcf.engines.local.engine import LocalEngine
from dcf.engines.local.limit_enforcer import group_prefix
from dcf.engines.local.replica_files import EnvironmentSource, ReplicaFiles, socket_of
from dcf.errors import NO_SPACE, DiskFull, StorageError
from dcf.files.runtime_folder import make_private
from dcf.settings import Locations
from dcf.supervision.embedded import EmbeddedSupervisor, record_of


@contextlib.asynccontextmanager
async def local_session(
    store: Store, environments: EnvironmentSource, places: Locations, env: Mapping[str, str]
) -> AsyncGenerator[LocalEngine, None]:
    """Open a local engine; kill its replicas and remove its files at the end.

    It also removes what a killed command has left.

    Args:
        store: Holds the artifacts.
        environments: Provides their environments.
        places: Where folders and sockets go.
        env: This process's environment.

    Yields:
        The engine. Its replicas print to this process's standard error.

    Raises:
        StorageError: If its folder cannot be created.
    """
    with _private_folder(places.workspaces, places.runtime) as folder:
        supervisor = EmbeddedSupervisor(folder)
        files = ReplicaFiles(
            store,
            environments,
            replicas=folder,
            sockets=places.runtime,
            secrets=places.secrets,
        )
        async with supervisor.running():
            engine = LocalEngine(supervisor, files, env)
            try:
                yield engine
            finally:
                engine.close()


@contextlib.contextmanager
def _private_folder(parent: Path, sockets: Path) -> Iterator[Path]:
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(sockets)
        _remove_abandoned(parent, sockets)
        folder, lock = _locked_folder(parent)
    except OSError as error:
        kind = DiskFull if error.errno in NO_SPACE else StorageError
        raise kind(f"{parent}: cannot create a folder for replicas: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix="", dir=parent))
        lock = _lock(folder)
        # Another command may take a folder that is not locked yet for an abandoned one.
        if lock is not None and folder.exists():
            return folder, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder while the returned descriptor is open; None if another process holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(parent: Path, sockets: Path) -> None:
    """Remove the folders of commands that were killed, and all that their replicas have left."""
    for folder in parent.iterdir():
        lock = _lock(folder)
        if lock is not None:
            record_of(folder).end_leftovers()
            Cgroups.find().sweep(group_prefix(folder), ())
            for replica in folder.iterdir():
                socket_of(sockets, replica.name).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
