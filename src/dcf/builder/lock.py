"""Makes requirements.lock from requirements.txt.

A lock is valid on every platform and from a minimum Python version on. Its second line records what
it was made from; while that is unchanged, uv is not started. A new lock keeps the old pins where
the new requirements allow them.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcf.builder.build_progress import SILENT, Listener, count_text, step
from dcf.builder.ignore import LOCK_NAME
from dcf.builder.interpreters import Interpreter, dotted
from dcf.builder.requirements import (
    REQUIREMENTS_NAME,
    Requirements,
    check_lock,
    local_path,
)
from dcf.builder.runtime_wheel import RUNTIME_NAME, RuntimeWheel
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.errors import DcfError, IndexUnreachable, RequirementsInvalid
from dcf.files.storage import READ_ONLY, writing
from dcf.model.artifact import Bundle, BundleFile, canonical_json, digest_of
from dcf.version import __version__

TITLE = f"# Made by dcf from {REQUIREMENTS_NAME}, and made again when that changes."

_MARK = re.compile(r"^# dcf-lock 1 python>=(\d+)\.(\d+) (sha256:[0-9a-f]{64})$", re.MULTILINE)

_METADATA = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files in which a local package declares its requirements."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock's text, and its parts."""

    text: str

    @property
    def pins(self) -> list[str]:
        """The lines without comments. They determine the environment."""
        return [
            line.rstrip()
            for line in self.text.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]

    @property
    def packages(self) -> list[str]:
        """One line for each package."""
        return [line.rstrip(" \\") for line in self.pins if not line.startswith((" ", "-"))]

    @property
    def local(self) -> list[str]:
        """The paths of the packages in the bundle."""
        paths = (local_path(line) for line in self.packages)
        return [os.path.normpath(path) for path in paths if path is not None]


def files_below(bundle: Bundle, path: str) -> Iterator[BundleFile]:
    """Yield the files of a bundle at or below a path; ``.`` is the whole bundle."""
    prefix = "" if path == "." else f"{path}/"
    for file in bundle.files:
        if file.path == path or file.path.startswith(prefix):
            yield file


def local_files(bundle: Bundle, paths: Iterable[str]) -> Iterator[list[object]]:
    """Yield the files of a bundle at or below some paths, as path, digest and mode."""
    for path in sorted(paths):
        for file in files_below(bundle, path):
            yield [file.path, file.digest, file.executable]


class Locker:
    """Keeps a folder's lock up to date.

    Args:
        store: Holds temporary files.
        uv: Resolves requirements.
        listener: Receives progress.
        runtime: The watcher, whose requirements the lock must cover too.
    """

    def __init__(self, store: Store, uv: Uv, listener: Listener, runtime: RuntimeWheel) -> None:
        self._store = store
        self._uv = uv
        self._listener = listener
        self._runtime = runtime

    def lock(
        self,
        folder: Path,
        requirements: Requirements,
        bundle: Bundle,
        interpreter: Interpreter,
        *,
        previous: str | None = None,
        offline: bool = False,
    ) -> tuple[Lock, bool]:
        """Return the lock of a folder, and whether it had to be made.

        Args:
            folder: The function's folder.
            requirements: The content of the folder's requirements.txt.
            bundle: The function's files.
            interpreter: Its version is the minimum version of a new lock.
            previous: The lock that the store has for this folder.
            offline: Whether to use only the cache.

        Raises:
            BuildError: One of its subclasses for requirements, packages and indexes.
            StorageError: If the lock cannot be written.
        """
        inputs = self._inputs(requirements, bundle)
        own = _read(folder / LOCK_NAME)
        if own is None and os.access(folder, os.W_OK):
            # The folder is writable, so the author deleted the lock to get a new one.
            previous = None
        candidates = [text for text in dict.fromkeys([own, previous]) if text is not None]
        for text in candidates:
            minimum = _minimum(text)
            if minimum is None or _mark(text) != _fingerprint(inputs, minimum):
                continue
            if minimum <= interpreter.minor:
                check_lock(text, LOCK_NAME)
                return Lock(text), False
            self._listener.notice(
                f"{LOCK_NAME} requires Python {dotted(minimum)} or later; it is regenerated for "
                f"{dotted(interpreter.minor)}"
            )
        for place in requirements.editable:
            self._listener.notice(
                f"{place}: the editable package is installed as a copy; build again after you "
                "change it"
            )
        old = candidates[0] if candidates else ""
        body = self._resolve(folder, requirements, interpreter, old, offline)
        minimum = interpreter.minor
        fingerprint = _fingerprint(inputs, minimum)
        text = f"{TITLE}\n# dcf-lock 1 python>={dotted(minimum)} {fingerprint}\n{body}"
        self._keep(folder, text)
        return Lock(text), True

    def check(self, lock: Lock, requirements: Requirements, bundle: Bundle) -> tuple[int, int]:
        """Check that a lock made elsewhere covers the function and this version's watcher.

        Args:
            lock: The lock.
            requirements: The content of the bundle's requirements.txt.
            bundle: The function's files.

        Returns:
            The lock's minimum Python version, as (major, minor).

        Raises:
            RequirementsInvalid: If the lock does not cover them.
        """
        check_lock(lock.text, LOCK_NAME)
        minimum = _minimum(lock.text)
        inputs = self._inputs(requirements, bundle)
        if minimum is None or _mark(lock.text) != _fingerprint(inputs, minimum):
            raise RequirementsInvalid(
                f"{LOCK_NAME}: expected a lock of this {REQUIREMENTS_NAME} and of the watcher of "
                f"DCF {__version__}, got a lock made from others; build again with DCF "
                f"{__version__}"
            )
        return minimum

    def _inputs(self, requirements: Requirements, bundle: Bundle) -> list[object]:
        """Return everything that a lock depends on, except the interpreter."""
        metadata: list[list[object]] = []
        for path, place in requirements.local:
            files = list(local_files(bundle, [path]))
            if not files:
                raise RequirementsInvalid(
                    f"{place}: expected a package in the bundle, got {path}, which is excluded;"
                    " include it in the ignore file"
                )
            names = {path, *(os.path.normpath(f"{path}/{name}") for name in _METADATA)}
            metadata += [file for file in files if file[0] in names]
        return [requirements.lines, self._runtime.requirements, metadata]

    def _resolve(
        self,
        folder: Path,
        requirements: Requirements,
        interpreter: Interpreter,
        old: str,
        offline: bool,  # noqa: FBT001  private, and named at its one call
    ) -> str:
        count = count_text(requirements.requirements, "requirement")
        detail = f"resolving {count if requirements.requirements else 'what the watcher needs'}"
        with self._store.temporary() as scratch, step(self._listener, "lock", detail):
            project = scratch / RUNTIME_NAME
            self._runtime.write_project(project)
            output = scratch / LOCK_NAME
            if preferences := _preferences(old):
                output.write_text(preferences)
            arguments = [
                *("pip", "compile", "--universal", "--generate-hashes", "--no-header"),
                *("--no-emit-package", RUNTIME_NAME),
                *("--python", interpreter.path, "--python-version", dotted(interpreter.minor)),
                *self._uv.index_arguments,
                *requirements.flags,
                *("--output-file", str(output)),
                *([REQUIREMENTS_NAME] if requirements.exists else []),
                "-",
            ]
            needs = f"{RUNTIME_NAME} @ {project.as_uri()}\n"
            self._compile(arguments, folder, needs, offline=offline)
            return _tidy(output.read_text())

    def _compile(self, arguments: list[str], folder: Path, needs: str, *, offline: bool) -> None:
        try:
            self._uv.run(arguments, self._listener, folder=folder, stdin=needs, offline=offline)
        except IndexUnreachable:
            if offline:
                raise
            try:
                self._uv.run(arguments, SILENT, folder=folder, stdin=needs, offline=True)
            except DcfError:
                pass
            else:
                self._listener.notice(
                    "the package index did not answer; the lock was made from the cache"
                )
                return
            raise

    def _keep(self, folder: Path, text: str) -> None:
        """Write the lock into the function's folder, unless the folder is read-only."""
        path = folder / LOCK_NAME
        with writing(path):
            try:
                descriptor, name = tempfile.mkstemp(prefix=".dcf-", dir=folder)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._listener.notice(
                    f"{folder} is not writable; {LOCK_NAME} is kept only in the store"
                )
                return
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(text)
                Path(name).chmod(0o644)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _minimum(text: str) -> tuple[int, int] | None:
    match = _MARK.search(text)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _mark(text: str) -> str:
    match = _MARK.search(text)
    return match.group(3) if match else ""


def _fingerprint(inputs: list[object], minimum: tuple[int, int]) -> str:
    return digest_of(canonical_json([inputs, minimum]))


def _preferences(text: str) -> str:
    """Return the versions that a lock pins. Other lines, such as a merge conflict, are dropped."""
    return "".join(f"{line}\n" for line in Lock(text).packages if re.match(r"[\w.-]+==\S", line))


def _tidy(text: str) -> str:
    """Return uv's lock without index addresses, and with editable packages as ordinary ones.

    The user's uv.toml may make uv write addresses into its output.
    """
    lines = text.partition("\n# The following packages were excluded from the output")[0]
    kept = [
        line.removeprefix("-e ")
        for line in lines.splitlines()
        if not line.startswith("--") and not re.match(r"\s*# from \S+://", line)
    ]
    return "\n".join(kept).rstrip() + "\n"
