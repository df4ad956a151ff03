"""Builds a function: lock, bundle, environment. A step runs only if its inputs changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dcf.builder.build_progress import SILENT, Listener, Noted, size_text
from dcf.builder.bundle import read_folder
from dcf.builder.environment import Environment, Environments, Recipe
from dcf.builder.folders import FolderRecord
from dcf.builder.interpreters import find_interpreter
from dcf.builder.lock import Locker
from dcf.builder.module_names import name_notices
from dcf.builder.prune import enforce_limit
from dcf.builder.rebuild import Rebuilder
from dcf.builder.requirements import read_requirements
from dcf.builder.runtime_wheel import RuntimeWheel
from dcf.builder.slots import Slots
from dcf.builder.store import GUARD_OF_STORE, WAITING_FOR_PRUNING, Store
from dcf.builder.uv import BuildStop, Uv
from dcf.errors import BundleInvalid, StorageError
from dcf.files.storage import no_space
from dcf.model.artifact import Artifact, Bundle
from dcf.model.function import FunctionSpec
from dcf.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class Built:
    """The result of a build.

    Attributes:
        artifact: Digests of bundle and lock in the store.
        bundle: The function's files.
        environment: The environment that the function runs in.
        fresh: Whether everything was up to date already.
        notices: Messages for the author.
    """

    artifact: Artifact
    bundle: Bundle
    environment: Environment
    fresh: bool
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    """A function's files and its lock. Any machine can build the function from them.

    Attributes:
        artifact: Digests of bundle and lock in the store.
        bundle: The function's files.
        lock: The lock's text.
        fresh: Whether both were up to date already.
        notices: Messages for the author.
    """

    artifact: Artifact
    bundle: Bundle
    lock: str
    fresh: bool
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Update:
    """A folder whose bundle and lock are up to date. ``is_changed`` is final after the block."""

    record: FolderRecord
    recipe: Recipe
    uv: Uv
    listener: Noted
    is_changed: bool = False

    @property
    def artifact(self) -> Artifact:
        return Artifact(self.record.bundle, self.record.lock)


class Builder:
    """Builds functions into one store.

    Args:
        store: Receives everything that is built.
        uv: Resolves and installs packages, and downloads interpreters.
        listener: Receives progress.
        settings: The store's size limit.
        slots: Limits how many builds of artifacts run at a time; None sets no limit.
    """

    def __init__(
        self,
        store: Store,
        uv: Uv,
        listener: Listener = SILENT,
        settings: StoreSettings | None = None,
        slots: Slots | None = None,
    ) -> None:
        self._store = store
        self._uv = uv
        self._listener = listener
        self._settings = settings or StoreSettings()
        self._rebuilder = Rebuilder(store, uv, slots or Slots(0))

    def build(
        self,
        folder: Path,
        spec: FunctionSpec,
        *,
        private: Iterable[Path] = (),
        nocache: bool = False,
        offline: bool = False,
    ) -> Built:
        """Build a function.

        Args:
            folder: The function's folder.
            spec: The function's name and its Python version.
            private: Files to exclude from the bundle, besides the function's environment files.
            nocache: Whether to read every file and rebuild the environment even if nothing changed.
                The lock's pins stay; to renew them, delete requirements.lock.
            offline: Whether to use only what is cached on this machine.

        Raises:
            BuildError: One of its subclasses.
            StorageError: If the store or the lock cannot be written; :class:`DiskFull` if the disk
                is full. Finished steps stay, and the next build reuses them.
        """
        with self._updated(folder, spec, private, nocache=nocache, offline=offline) as update:
            environments = Environments(self._store, update.uv, update.listener)
            environment, made = environments.ensure(update.recipe, rebuild=nocache, offline=offline)
            update.record.environment = environment.key
            update.is_changed = made
        return Built(
            update.artifact,
            update.recipe.bundle,
            environment,
            not update.is_changed,
            tuple(update.listener.notices),
        )

    def lock(
        self,
        folder: Path,
        spec: FunctionSpec,
        *,
        private: Iterable[Path] = (),
        nocache: bool = False,
        offline: bool = False,
    ) -> Locked:
        """Update bundle and lock without making an environment: another machine may do that.

        Arguments and errors are those of :meth:`build`.
        """
        with self._updated(folder, spec, private, nocache=nocache, offline=offline) as update:
            pass
        return Locked(
            update.artifact,
            update.recipe.bundle,
            update.recipe.lock.text,
            not update.is_changed,
            tuple(update.listener.notices),
        )

    def build_artifact(
        self,
        artifact: Artifact,
        spec: FunctionSpec,
        *,
        listener: Listener | None = None,
        stop: BuildStop | None = None,
        offline: bool = False,
    ) -> Environment:
        """Make the environment of a function that was bundled and locked elsewhere.

        The store keeps artifact and environment until
        :meth:`dcf.builder.retained.RetainedArtifacts.keep_only` drops them. Thread-safe.

        Args:
            artifact: Bundle and lock, which the store has.
            spec: The function's name and its Python version.
            listener: Receives progress, on this thread; None takes the builder's own listener.
            stop: Cancels the build from another thread.
            offline: Whether to use only what is cached on this machine.

        Raises:
            BlobsMissing: If the store does not have the whole artifact.
            BuildError: One of its subclasses; BuildError itself if ``stop`` cancelled the build.
            StorageError: If the environment cannot be written. A partial environment is removed.
        """
        listener = listener or self._listener
        environment, made = self._rebuilder.rebuild(
            artifact, spec, listener, stop or BuildStop(), offline=offline
        )
        if made:
            self._enforce_limit(None, listener)
        return environment

    @contextmanager
    def _updated(
        self,
        folder: Path,
        spec: FunctionSpec,
        private: Iterable[Path],
        *,
        nocache: bool,
        offline: bool,
    ) -> Iterator[_Update]:
        """Update bundle and lock of a folder.

        Nothing is pruned during the block. After it the folder's record is saved, and the store is
        kept within its limit.
        """
        folder = folder.absolute()
        if not folder.is_dir():
            got = "a file" if folder.exists() else "nothing"
            raise BundleInvalid(f"expected a folder at {folder}, got {got}")
        store, listener, uv = self._store, Noted(self._listener), self._uv.limited()
        wait = partial(listener.notice, WAITING_FOR_PRUNING)
        with no_space(store.root), store.guard(GUARD_OF_STORE, shared=True, on_wait=wait):
            record = FolderRecord.load(store, folder, spec.name)
            before = (record.bundle, record.lock, record.environment)
            excluded = [*private, *(folder / name for name in spec.environment_file)]
            bundle = self._read(record, listener, excluded, nocache=nocache)
            recipe = self._recipe(bundle, spec, record, listener, uv, offline=offline)
            update = _Update(record, recipe, uv, listener)
            yield update
            record.used = time.time()
            record.save(store)
        if before != (record.bundle, record.lock, record.environment):
            update.is_changed = True
        if update.is_changed:
            self._enforce_limit(record, listener)

    def _read(
        self, record: FolderRecord, listener: Listener, private: Iterable[Path], *, nocache: bool
    ) -> Bundle:
        """Update the bundle.

        The record is saved at once, so that a build that fails later does not read a model again.
        """
        known = {} if nocache else record.files
        folder = Path(record.folder)
        reading = read_folder(folder, self._store.blobs, known, listener, private)
        record.bundle = self._store.put_bundle(reading.bundle)
        record.files = reading.stats
        if reading.read:
            record.save(self._store)
        return reading.bundle

    def _recipe(
        self,
        bundle: Bundle,
        spec: FunctionSpec,
        record: FolderRecord,
        listener: Listener,
        uv: Uv,
        *,
        offline: bool,
    ) -> Recipe:
        """Update the lock."""
        folder = Path(record.folder)
        for text in name_notices(bundle, spec.handler.dir, spec.handler.file):
            listener.notice(text)
        runtime = RuntimeWheel.installed()
        requirements = read_requirements(folder)
        interpreter = find_interpreter(
            spec.python, uv, listener, minimum=runtime.minimum, offline=offline
        )
        previous = None
        if record.lock:
            with suppress(StorageError):
                previous = self._store.lock(record.lock)
        locker = Locker(self._store, uv, listener, runtime)
        lock, made = locker.lock(
            folder, requirements, bundle, interpreter, previous=previous, offline=offline
        )
        record.lock = self._store.put_lock(lock.text)
        if made:
            record.save(self._store)
        return Recipe(lock, bundle, requirements, interpreter, runtime)

    def _enforce_limit(self, record: FolderRecord | None, listener: Listener) -> None:
        limit = self._settings.limit
        pruned = enforce_limit(self._store, limit, record)
        if pruned is None:
            return
        if pruned.freed:
            listener.notice(
                f"removed {size_text(pruned.freed)} that were not used recently: the store "
                f"exceeded its limit of {size_text(limit)}"
            )
        if pruned.kept > limit:
            listener.notice(
                f"the store takes {size_text(pruned.kept)}, all of it in use; its limit is "
                f"{size_text(limit)} (DCF_STORE_LIMIT)"
            )
