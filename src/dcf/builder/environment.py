"""Makes environments from locks.

An environment is made in its final place, because scripts and ``pyvenv.cfg`` hold its path. Its
marker is written last. A build that finds an environment without a marker removes it and starts
over.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from dcf.builder.build_progress import Held, Listener, count_text, step
from dcf.builder.checkout import lay_out
from dcf.builder.interpreters import Interpreter
from dcf.builder.lock import Lock, local_files
from dcf.builder.requirements import Requirements
from dcf.builder.runtime_wheel import RuntimeWheel
from dcf.builder.slots import Slots
from dcf.builder.store import Marker, Store, make_guard, use_guard
from dcf.builder.uv import Uv
from dcf.errors import BuildError, BuildTimeout, InstallFailed
from dcf.files.storage import writing
from dcf.model.artifact import Bundle, canonical_json, digest_of

KEY_DIGITS = 32
"""Hexadecimal digits of a key. 128 bits are unique enough, and the interpreter's path must fit into
the first line of a script, which some kernels cut at 127 bytes."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter with its packages.

    Attributes:
        key: The environment's name in the store.
        root: The environment's folder.
    """

    key: str
    root: Path

    @property
    def python(self) -> Path:
        """Path of the interpreter to start."""
        return self.root / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines an environment.

    Attributes:
        lock: The packages to install.
        bundle: Holds the packages that the lock names by path.
        requirements: Options: where to find packages, and whether to build them.
        interpreter: The Python of the environment.
        runtime: The watcher.
    """

    lock: Lock
    bundle: Bundle
    requirements: Requirements
    interpreter: Interpreter
    runtime: RuntimeWheel

    @property
    def key(self) -> str:
        """The environment's name. Equal recipes share an environment."""
        parts = [
            self.lock.pins,
            self.requirements.build_options,
            list(local_files(self.bundle, self.lock.local)),
            astuple(self.interpreter),
            self.runtime.digest,
        ]
        return digest_of(canonical_json(parts)).removeprefix("sha256:")[:KEY_DIGITS]


class Environments:
    """Makes environments in a store.

    Args:
        store: Holds the environments.
        uv: Installs packages.
        listener: Receives progress.
        slots: Limits how many environments are made at a time; None sets no limit.
    """

    def __init__(
        self, store: Store, uv: Uv, listener: Listener, slots: Slots | None = None
    ) -> None:
        self._store = store
        self._uv = uv
        self._listener = listener
        self._slots = slots or Slots(0)

    def ensure(
        self, recipe: Recipe, *, rebuild: bool = False, offline: bool = False
    ) -> tuple[Environment, bool]:
        """Return the environment of a recipe, and whether it had to be made.

        Args:
            recipe: What the environment is made of.
            rebuild: Whether to rebuild an environment that is complete.
            offline: Whether to use only the cache.

        Raises:
            BuildError: One of its subclasses for packages and indexes.
            StorageError: If the environment cannot be written. A partial environment is removed.
        """
        environment = Environment(recipe.key, self._store.environments / recipe.key)
        if not rebuild and self.is_whole(environment):
            return environment, False
        name, stop = make_guard(environment.key), self._uv.stop
        with (
            self._store.guard(name, on_wait=self._wait, pause=stop.pause) as guard,
            ExitStack() as held,
        ):
            if self.is_whole(environment):
                if not rebuild:
                    return environment, False
                try:
                    held.enter_context(self._store.guard(use_guard(environment.key), wait=False))
                except BlockingIOError:
                    self._listener.notice("the environment is in use and was not rebuilt")
                    return environment, False
            # Take a slot only now, so that builds waiting for this environment occupy no slots.
            held.enter_context(self._slots.taken(self._listener, stop))
            try:
                self._remove(environment)
                self._make(environment, recipe, guard, offline=offline)
            except BaseException:
                self._remove(environment)
                raise
        return environment, True

    def is_whole(self, environment: Environment) -> bool:
        """Return whether an environment is complete and its interpreter is still installed."""
        return self._store.marker(environment.key) is not None and environment.python.exists()

    def _wait(self) -> None:
        self._listener.notice("Waiting for another build of the same environment")

    def _remove(self, environment: Environment) -> None:
        with writing(environment.root):
            self._store.marker_path(environment.key).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.rmtree(environment.root)

    def _make(self, environment: Environment, recipe: Recipe, guard: int, *, offline: bool) -> None:
        count = count_text(len(recipe.lock.packages), "package")
        with (
            step(self._listener, "environment", f"installing {count}"),
            self._store.temporary() as scratch,
        ):
            sources = scratch / "sources"
            local = {str(path) for path, *_ in local_files(recipe.bundle, recipe.lock.local)}
            lay_out(
                self._store, [file for file in recipe.bundle.files if file.path in local], sources
            )
            package_list = scratch / "packages.txt"
            wheel = recipe.runtime.write_wheel(scratch)
            options = [*recipe.requirements.indexes, *recipe.requirements.build_options]
            with writing(package_list):
                package_list.write_text(
                    "\n".join([*options, *recipe.lock.pins, wheel.as_uri()]) + "\n"
                )
            self._uv.run(
                ["venv", "--python", recipe.interpreter.path, str(environment.root)],
                self._listener,
                inherited=[guard],
            )
            arguments = [
                *("pip", "install", "--python", str(environment.python), "--no-deps"),
                *("--compile-bytecode", "-r", str(package_list)),
                *self._uv.index_arguments,
                *recipe.requirements.flags,
            ]
            self._install(arguments, sources, guard, offline=offline)
            marker = Marker(
                size=_size(environment.root),
                created=time.time(),
                interpreter=recipe.interpreter.path,
                lock=digest_of(recipe.lock.text.encode()),
            )
            self._store.mark(environment.key, marker)

    def _install(self, arguments: list[str], sources: Path, guard: int, *, offline: bool) -> None:
        """Install from the cache; use the network only if the cache lacks something.

        uv inherits the guard: if this process is killed, no other build touches the environment
        until uv has ended too.
        """
        try:
            held = Held()
            self._uv.run(arguments, held, folder=sources, offline=True, inherited=[guard])
            held.release(self._listener)
        except BuildError as error:
            # A package's build that failed would fail again. Any other error may come from the
            # missing network.
            is_build_failure = isinstance(error, InstallFailed) and "exit status" in error.output
            if offline or is_build_failure or isinstance(error, BuildTimeout):
                raise
            self._uv.run(arguments, self._listener, folder=sources, inherited=[guard])


def _size(root: Path) -> int:
    return sum(
        (Path(place) / name).lstat().st_size for place, _, names in os.walk(root) for name in names
    )
