"""A build: lock, bundle, environment, each only as far as something changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from dcf.builder.prune import enforce_bound
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


@dataclass(frozen=True, slots=True)
class Locked:
    """A function's files and its lock: what any machine can make the function from.

    Attributes:
        artifact: The function, by digests of what the store holds.
        bundle: Its files.
        lock: The lock's text.
        fresh: Whether both were there already.
        notices: What the author should know.
    """

    artifact: Artifact
    bundle: Bundle
    lock: str
    fresh: bool
    notices: tuple[str, ...]


class Builder:
    """Builds functions into one store.

    Args:
        store: Where everything goes.
        uv: Resolves, installs and fetches.
        listener: Hears of progress.
        settings: The store's bound.
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
        """Builds a function.

        Args:
            folder: The function's folder.
            spec: Its name and the Python that it asks for.
            private: Files to exclude from the bundle, besides the function's environment files.
            nocache: Whether to read every file and make the environment again, changed or not. The
                lock's pins stay: to have them made anew, delete requirements.lock.
            offline: Whether only what is on this machine may be used.

        Raises:
            BuildError: One of the classes below it.
            StorageError: When the store or the lock cannot be written; :class:`DiskFull` among
                them. What was finished before stays and is found by the next build.
        """
        listener = Noted(self._listener)
        with self._recorded(folder, spec, listener) as record:
            before = (record.bundle, record.lock, record.environment)
            uv = self._uv.limited()
            recipe = self._recipe(
                spec, record, listener, uv, private, nocache=nocache, offline=offline
            )
            environments = Environments(self._store, uv, listener)
            environment, made = environments.ensure(recipe, anew=nocache, offline=offline)
            record.environment = environment.key
        after = (record.bundle, record.lock, record.environment)
        fresh = before == after and not made
        if not fresh:
            self._enforce_bound(record, listener)
        return Built(
            Artifact(record.bundle, record.lock),
            recipe.bundle,
            environment,
            fresh,
            tuple(listener.notices),
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
        """Brings bundle and lock up to date, and makes no environment: another machine may do that.

        Arguments and errors as for :meth:`build`.
        """
        listener = Noted(self._listener)
        with self._recorded(folder, spec, listener) as record:
            before = (record.bundle, record.lock)
            uv = self._uv.limited()
            recipe = self._recipe(
                spec, record, listener, uv, private, nocache=nocache, offline=offline
            )
        fresh = before == (record.bundle, record.lock)
        if not fresh:
            self._enforce_bound(record, listener)
        return Locked(
            Artifact(record.bundle, record.lock),
            recipe.bundle,
            recipe.lock.text,
            fresh,
            tuple(listener.notices),
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
        """Makes the environment of a function that was built elsewhere.

        From then on the store keeps artifact and environment until
        :meth:`dcf.builder.retained.Deployed.keep_only` forgets them. May be called on several
        threads at a time.

        Args:
            artifact: Bundle and lock, which the store has.
            spec: The function's name and the Python that it asks for.
            listener: Hears of progress on this thread; None takes the builder's own.
            stop: Ends the build from another thread.
            offline: Whether only what is on this machine may be used.

        Raises:
            BlobsMissing: When the store does not have all of the artifact.
            BuildError: One of the classes below it; itself when ``stop`` ended it.
            StorageError: When it cannot be written. Nothing is left of it then.
        """
        listener = listener or self._listener
        environment, made = self._rebuilder.rebuild(
            artifact, spec, listener, stop or BuildStop(), offline=offline
        )
        if made:
            self._enforce_bound(None, listener)
        return environment

    @contextmanager
    def _recorded(
        self, folder: Path, spec: FunctionSpec, listener: Listener
    ) -> Iterator[FolderRecord]:
        """The record of a folder, saved once the block went well; nothing is pruned meanwhile."""
        folder = folder.absolute()
        if not folder.is_dir():
            raise BundleInvalid(f"{folder} is not a folder")
        wait = partial(listener.notice, WAITING_FOR_PRUNING)
        with (
            no_space(self._store.root),
            self._store.guard(GUARD_OF_STORE, shared=True, on_wait=wait),
        ):
            record = FolderRecord.load(self._store, folder, spec.name)
            yield record
            record.used = time.time()
            record.save(self._store)

    def _read(
        self, record: FolderRecord, listener: Listener, private: Iterable[Path], *, nocache: bool
    ) -> Bundle:
        """Brings the bundle up to date.

        What was read is noted at once: a build that fails later need not read a model again.
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
        spec: FunctionSpec,
        record: FolderRecord,
        listener: Listener,
        uv: Uv,
        private: Iterable[Path],
        *,
        nocache: bool,
        offline: bool,
    ) -> Recipe:
        """Brings bundle and lock up to date."""
        folder = Path(record.folder)
        private = [*private, *(folder / name for name in spec.environment_file)]
        bundle = self._read(record, listener, private, nocache=nocache)
        for text in name_notices(bundle, spec.handler.dir, spec.handler.file):
            listener.notice(text)
        runtime = RuntimeWheel.installed()
        requirements = read_requirements(folder)
        interpreter = find_interpreter(
            spec.python, uv, listener, minimum=runtime.minimum, offline=offline
        )
        lock, made = Locker(self._store, uv, listener, runtime).lock(
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
        return Recipe(lock, bundle, requirements, interpreter, runtime)

    def _known_lock(self, record: FolderRecord) -> str | None:
        if not record.lock:
            return None
        try:
            return self._store.lock(record.lock)
        except StorageError:
            return None

    def _enforce_bound(self, record: FolderRecord | None, listener: Listener) -> None:
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
