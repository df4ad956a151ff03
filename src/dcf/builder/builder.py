"""A build: lock, bundle, environment, each only as far as something changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dcf.builder.bundle import Reading, read_folder
from dcf.builder.environment import Environment, Environments, Recipe
from dcf.builder.folders import FolderRecord
from dcf.builder.interpreter import find_interpreter
from dcf.builder.lock import Locker
from dcf.builder.progress import SILENT, Listener, Noted, size_text
from dcf.builder.prune import enforce_bound
from dcf.builder.requirements import read_requirements
from dcf.builder.runtime import Runtime
from dcf.builder.store import GUARD_OF_STORE, Store
from dcf.builder.uv import Uv
from dcf.errors import BundleInvalid, StorageError
from dcf.model.artifact import Artifact, Bundle
from dcf.model.function import FunctionSpec
from dcf.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Built:
    """What a build yields.

    Attributes:
        artifact: The function, by digests of what the store holds.
        bundle: Its files.
        environment: Where it runs.
        fresh: Whether everything was there already.
        notices: What the author should know.
    """

    artifact: Artifact
    bundle: Bundle
    environment: Environment
    fresh: bool
    notices: tuple[str, ...]


class Builder:
    """Builds functions into one store.

    Args:
        store: Where everything goes.
        uv: Resolves, installs and fetches.
        listener: Hears of progress.
        settings: The store's bound.
    """

    def __init__(
        self,
        store: Store,
        uv: Uv,
        listener: Listener = SILENT,
        settings: StoreSettings | None = None,
    ) -> None:
        self._store = store
        self._uv = uv
        self._listener = listener
        self._settings = settings or StoreSettings()

    def build(
        self, folder: Path, spec: FunctionSpec, *, nocache: bool = False, offline: bool = False
    ) -> Built:
        """Builds a function.

        Args:
            folder: The function's folder.
            spec: Its name and the Python that it asks for.
            nocache: Whether to read every file and make the environment again, changed or not. The
                lock's pins stay: to have them made anew, delete requirements.lock.
            offline: Whether only what is on this machine may be used.

        Raises:
            BuildError: One of the classes below it.
            StorageError: When the store or the lock cannot be written; :class:`DiskFull` among
                them. What was finished before stays and is found by the next build.
        """
        folder = folder.absolute()
        if not folder.is_dir():
            raise BundleInvalid(f"{folder} is not a folder")
        listener = Noted(self._listener)
        wait = partial(listener.notice, "the store is being cleaned; waiting")
        with self._store.guard(GUARD_OF_STORE, shared=True, on_wait=wait):
            record = FolderRecord.load(self._store, folder, spec.name)
            before = (record.bundle, record.lock, record.environment)
            reading = self._read(folder, record, listener, nocache=nocache)
            environment, made = self._environment(
                folder, spec, record, reading.bundle, listener, anew=nocache, offline=offline
            )
            record.used = time.time()
            record.save(self._store)
        after = (record.bundle, record.lock, record.environment)
        fresh = before == after and not made
        if not fresh:
            self._enforce_bound(record, listener)
        return Built(
            Artifact(record.bundle, record.lock),
            reading.bundle,
            environment,
            fresh,
            tuple(listener.notices),
        )

    def _read(
        self, folder: Path, record: FolderRecord, listener: Listener, *, nocache: bool
    ) -> Reading:
        """Brings the bundle up to date.

        What was read is noted at once: a build that fails later need not read a model again.
        """
        known = {} if nocache else record.files
        reading = read_folder(folder, self._store.blobs, known, listener)
        record.bundle = self._store.put_bundle(reading.bundle)
        record.files = reading.stats
        if reading.read:
            record.save(self._store)
        return reading

    def _environment(
        self,
        folder: Path,
        spec: FunctionSpec,
        record: FolderRecord,
        bundle: Bundle,
        listener: Listener,
        *,
        anew: bool,
        offline: bool,
    ) -> tuple[Environment, bool]:
        """Brings lock and environment up to date; tells whether the environment was made."""
        runtime = Runtime.installed()
        requirements = read_requirements(folder)
        interpreter = find_interpreter(
            spec.python, self._uv, listener, minimum=runtime.minimum, offline=offline
        )
        lock, made = Locker(self._store, self._uv, listener, runtime).lock(
            folder,
            requirements,
            bundle,
            interpreter,
            previous=self._known_lock(record),
            offline=offline,
        )
        record.lock = self._store.put_lock(lock.text)
        if made:
            record.save(self._store)
        recipe = Recipe(lock, bundle, requirements, interpreter, runtime)
        environments = Environments(self._store, self._uv, listener)
        environment, made = environments.ensure(recipe, anew=anew, offline=offline)
        record.environment = environment.key
        return environment, made

    def _known_lock(self, record: FolderRecord) -> str | None:
        if not record.lock:
            return None
        try:
            return self._store.lock(record.lock)
        except StorageError:
            return None

    def _enforce_bound(self, record: FolderRecord, listener: Listener) -> None:
        limit = self._settings.limit
        pruned = enforce_bound(self._store, limit, record)
        if pruned is not None and pruned.freed:
            listener.notice(
                f"{size_text(pruned.freed)} that nothing used of late left the store, which may "
                f"take {size_text(limit)}"
            )
        if pruned is not None and pruned.kept > limit:
            listener.notice(
                f"the store takes {size_text(pruned.kept)} of the {size_text(limit)} that it may"
            )
