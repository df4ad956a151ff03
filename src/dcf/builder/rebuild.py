"""Makes the environment of a function from a bundle and a lock that were made elsewhere.

The environment is made for this machine: with its interpreter and its package index settings.
Indexes in requirements.txt belong to the function and apply here too. Every package must match the
lock's hashes, whatever index it comes from.
"""

from __future__ import annotations

import os
from functools import cached_property, partial
from pathlib import Path

from dcf.builder.build_progress import Listener, count_text
from dcf.builder.checkout import lay
from dcf.builder.environment import Environment, Environments, Recipe
from dcf.builder.interpreters import Interpreter, dotted, find_interpreter, own_interpreter
from dcf.builder.lock import Lock, Locker, files_below
from dcf.builder.requirements import read_requirements
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.runtime_wheel import RuntimeWheel
from dcf.builder.slots import Slots
from dcf.builder.store import GUARD_OF_STORE, WAITING_FOR_PRUNING, Store
from dcf.builder.uv import BuildStop, Uv
from dcf.errors import BlobsMissing, InterpreterNotFound, StorageError
from dcf.files.storage import no_space
from dcf.model.artifact import Artifact, Bundle
from dcf.model.function import FunctionSpec


class Rebuilder:
    """Makes the environments of artifacts in one store.

    It caches the watcher's files, as they were at the first build, and the interpreters that it
    found.

    Args:
        store: Holds the artifacts and receives the environments.
        uv: Installs packages and downloads interpreters.
        slots: Limits how many builds run at a time.
    """

    def __init__(self, store: Store, uv: Uv, slots: Slots) -> None:
        self._store = store
        self._uv = uv
        self._slots = slots
        self._interpreters: dict[str, tuple[Interpreter, int]] = {}

    def rebuild(
        self,
        artifact: Artifact,
        spec: FunctionSpec,
        listener: Listener,
        stop: BuildStop,
        *,
        offline: bool = False,
    ) -> tuple[Environment, bool]:
        """Return the environment of an artifact, and whether it had to be made.

        Arguments and errors are those of :meth:`dcf.builder.builder.Builder.build_artifact`.
        """
        store, uv = self._store, self._uv.stopped_by(stop)
        wait = partial(listener.notice, WAITING_FOR_PRUNING)
        with (
            no_space(store.root),
            store.guard(GUARD_OF_STORE, shared=True, on_wait=wait, pause=stop.pause),
            store.temporary() as folder,
        ):
            bundle, lock = self._load(artifact, spec)
            requirements = read_requirements(folder, partial(self._fetch, bundle, folder))
            locker = Locker(store, uv, listener, self._runtime)
            lowest = locker.check(lock, requirements, bundle)
            interpreter = self._interpreter(spec.python, lowest, uv, listener, offline=offline)
            recipe = Recipe(lock, bundle, requirements, interpreter, self._runtime)
            environments = Environments(store, uv, listener, self._slots)
            environment, made = environments.ensure(recipe, offline=offline)
            RetainedArtifacts(store).add(artifact, environment.key)
        return environment, made

    @cached_property
    def _runtime(self) -> RuntimeWheel:
        return RuntimeWheel.installed()

    def _load(self, artifact: Artifact, spec: FunctionSpec) -> tuple[Bundle, Lock]:
        try:
            bundle = self._store.bundle(artifact.bundle)
            lock = Lock(self._store.lock(artifact.lock))
        except StorageError as error:
            raise BlobsMissing(f"{spec.name} has not been uploaded: {error}") from error
        sizes = {file.digest: file.size for file in bundle.files}
        missing = [
            digest for digest, size in sizes.items() if not self._store.blobs.has(digest, size)
        ]
        if missing:
            raise BlobsMissing(
                f"{len(missing)} of the {count_text(len(sizes), 'blob')} of {spec.name} have not "
                "been uploaded"
            )
        return bundle, lock

    def _fetch(self, bundle: Bundle, folder: Path, place: Path) -> None:
        """Lay out the bundle's files at or below a place in the folder."""
        for file in files_below(bundle, os.path.relpath(place, folder)):
            if not (folder / file.path).exists():
                lay(self._store, file, folder)

    def _interpreter(
        self,
        requested: str | None,
        lowest: tuple[int, int],
        uv: Uv,
        listener: Listener,
        *,
        offline: bool,
    ) -> Interpreter:
        """Return the requested interpreter; without a request, one that the lock supports."""
        version = requested
        if version is None and own_interpreter().minor < lowest:
            version = dotted(lowest)
        interpreter = self._cached(version)
        if interpreter is None:
            find = partial(find_interpreter, version, uv, listener, minimum=self._runtime.minimum)
            try:
                interpreter = find(offline=True)
            except InterpreterNotFound:
                if offline:
                    raise
                with self._slots.taken(listener, uv.stop):
                    interpreter = find(offline=False)
            if version is not None:
                modified = Path(interpreter.path).stat().st_mtime_ns
                self._interpreters[version] = interpreter, modified
        if interpreter.minor < lowest:
            raise InterpreterNotFound(
                f"expected Python {dotted(lowest)} or later, which the lock requires, got "
                f"{interpreter.version}; build again"
            )
        return interpreter

    def _cached(self, version: str | None) -> Interpreter | None:
        """Return an interpreter that was found before, unless its file was replaced since."""
        if version not in self._interpreters:
            return None
        interpreter, modified = self._interpreters[version]
        try:
            is_same = Path(interpreter.path).stat().st_mtime_ns == modified
        except FileNotFoundError:
            return None
        return interpreter if is_same else None
