"""The environment of a function that was built elsewhere, from bundle and lock alone.

It is made for this machine: by its interpreter, and with its settings of where packages are found.
What requirements.txt itself says of indexes is the function's and holds here as well; the lock's
hashes decide what is taken, wherever it is found.
"""

from __future__ import annotations

import os
from functools import cached_property, partial
from pathlib import Path

from dcf.builder.build_progress import Listener, count_text
from dcf.builder.checkout import lay
from dcf.builder.environment import Environment, Environments, Recipe
from dcf.builder.interpreters import Interpreter, find_interpreter, own_interpreter
from dcf.builder.lock import Lock, Locker
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
    """Makes environments of artifacts in one store.

    It caches what does not change while the process runs: the watcher's files, as they were at the
    first build, and the interpreters that it found.

    Args:
        store: Holds the artifacts and gets the environments.
        uv: Installs and fetches.
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
        """The environment of an artifact, and whether it had to be made.

        Arguments and errors as for :meth:`dcf.builder.builder.Builder.build_artifact`.
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
        missing = [one for one, size in sizes.items() if not self._store.blobs.has(one, size)]
        if missing:
            raise BlobsMissing(
                f"{len(missing)} of the {count_text(len(sizes), 'blob')} of {spec.name} have not "
                "been uploaded"
            )
        return bundle, lock

    def _fetch(self, bundle: Bundle, folder: Path, place: Path) -> None:
        """Lays out what the bundle has at or below a place in the folder."""
        path = os.path.relpath(place, folder)
        prefix = "" if path == "." else f"{path}/"
        for file in bundle.files:
            wanted = file.path == path or file.path.startswith(prefix)
            if wanted and not (folder / file.path).exists():
                lay(self._store, file, folder)

    def _interpreter(
        self,
        asked: str | None,
        lowest: tuple[int, int],
        uv: Uv,
        listener: Listener,
        *,
        offline: bool,
    ) -> Interpreter:
        """The Python to use: where none is asked for, one that the lock holds for."""
        dotted = f"{lowest[0]}.{lowest[1]}"
        wanted = dotted if asked is None and own_interpreter().minor < lowest else asked
        found = self._known(wanted)
        if found is None:
            find = partial(find_interpreter, wanted, uv, listener, minimum=self._runtime.minimum)
            try:
                found = find(offline=True)
            except InterpreterNotFound:
                if offline:
                    raise
                with self._slots.taken(listener, uv.stop):
                    found = find(offline=False)
            if wanted is not None:
                self._interpreters[wanted] = found, Path(found.path).stat().st_mtime_ns
        if found.minor < lowest:
            raise InterpreterNotFound(
                f"Python {found.version} is asked for; the lock holds from Python {dotted} on: "
                "build again"
            )
        return found

    def _known(self, wanted: str | None) -> Interpreter | None:
        """One that was found before, unless it was replaced since."""
        if wanted not in self._interpreters:
            return None
        found, changed = self._interpreters[wanted]
        try:
            return found if Path(found.path).stat().st_mtime_ns == changed else None
        except FileNotFoundError:
            return None
