"""From requirements.txt to requirements.lock.

A lock holds for every platform and for every Python from a lower bound on. Its second line tells
what it was made from; as long as that is the same, uv is not even started. When it is made again,
what it pins stays where the new requirements allow it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcf.builder.build_progress import SILENT, Listener, count_text, step
from dcf.builder.ignore import LOCK_NAME
from dcf.builder.interpreters import Interpreter
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
from dcf.files.atomic import replace_file
from dcf.files.storage import READ_ONLY, writing
from dcf.model.artifact import Bundle, canonical_json, digest_of
from dcf.version import __version__

TITLE = f"# Made by dcf from {REQUIREMENTS_NAME}, and made again when that changes."

_MARK = re.compile(r"^# dcf-lock 1 python>=(\d+)\.(\d+) (sha256:[0-9a-f]{64})$", re.MULTILINE)

_METADATA = ("pyproject.toml", "setup.py", "setup.cfg")
"""Where a local package tells what it needs."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock's text and what is in it."""

    text: str

    @property
    def pins(self) -> list[str]:
        """Its lines without comments: what decides on an environment."""
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
        """The paths of the packages that lie in the bundle."""
        paths = (local_path(line) for line in self.packages)
        return [os.path.normpath(path) for path in paths if path is not None]


def local_files(bundle: Bundle, paths: Iterable[str]) -> Iterator[list[object]]:
    """The bundle's files at or below some paths, as path, digest and mode."""
    for path in sorted(paths):
        prefix = "" if path == "." else f"{path}/"
        for file in bundle.files:
            if file.path == path or file.path.startswith(prefix):
                yield [file.path, file.digest, file.executable]


class Locker:
    """Keeps a folder's lock up to date.

    Args:
        store: Work in progress lies there.
        uv: Resolves.
        listener: Hears of it.
        runtime: What the lock must cover besides.
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
        """The lock of a folder, and whether it had to be made.

        Args:
            folder: The function's folder.
            requirements: What its requirements.txt says.
            bundle: Its files.
            interpreter: Whose version is the lower bound of a new lock.
            previous: The lock that the store has for this folder.
            offline: Whether only the cache may be used.

        Raises:
            BuildError: One of its classes that speak of requirements, packages and indexes.
            StorageError: When the lock cannot be written.
        """
        inputs = self._inputs(requirements, bundle)
        own = _read(folder / LOCK_NAME)
        if own is None and os.access(folder, os.W_OK):
            # It was deleted, not merely impossible to keep: the author wants a new one.
            previous = None
        found = dict.fromkeys([own, previous])
        known = [text for text in found if text is not None]
        for text in known:
            bound = _bound(text)
            if bound is None or _mark(text) != _fingerprint(inputs, bound):
                continue
            if bound <= interpreter.minor:
                check_lock(text, LOCK_NAME)
                return Lock(text), False
            self._listener.notice(
                f"{LOCK_NAME} holds from Python {_dotted(bound)} on; it is made again for "
                f"{_dotted(interpreter.minor)}"
            )
        for place in requirements.editable:
            self._listener.notice(
                f"{place}: an editable package is installed as it is now; build again after a "
                "change"
            )
        body = self._resolve(folder, requirements, interpreter, known[0] if known else "", offline)
        bound = interpreter.minor
        fingerprint = _fingerprint(inputs, bound)
        made = f"{TITLE}\n# dcf-lock 1 python>={_dotted(bound)} {fingerprint}\n{body}"
        self._keep(folder, made)
        return Lock(made), True

    def check(self, lock: Lock, requirements: Requirements, bundle: Bundle) -> tuple[int, int]:
        """Checks that a lock which was made elsewhere covers all that is needed here.

        Args:
            lock: The lock.
            requirements: What the bundle's requirements.txt says.
            bundle: The files.

        Returns:
            The lowest Python that it holds for, as (major, minor).

        Raises:
            RequirementsInvalid: When it does not.
        """
        check_lock(lock.text, LOCK_NAME)
        bound = _bound(lock.text)
        inputs = self._inputs(requirements, bundle)
        if bound is None or _mark(lock.text) != _fingerprint(inputs, bound):
            raise RequirementsInvalid(
                f"{LOCK_NAME} was not made for this {REQUIREMENTS_NAME} and the watcher of DCF "
                f"{__version__}; build it again with DCF {__version__}"
            )
        return bound

    def _inputs(self, requirements: Requirements, bundle: Bundle) -> list[object]:
        """What a lock depends on, but for the interpreter."""
        metadata: list[list[object]] = []
        for path, place in requirements.local:
            files = list(local_files(bundle, [path]))
            if not files:
                raise RequirementsInvalid(f"{place}: {path} is left out of the bundle")
            told = {path, *(os.path.normpath(f"{path}/{name}") for name in _METADATA)}
            metadata += [file for file in files if file[0] in told]
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
                *("--python", interpreter.path, "--python-version", _dotted(interpreter.minor)),
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
        """Writes the lock beside the requirements, if that is allowed."""
        path = folder / LOCK_NAME
        with writing(path):
            try:
                replace_file(path, text, mode=0o644)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                self._listener.notice(
                    f"{folder} is not writable; {LOCK_NAME} is kept in the store alone"
                )


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _bound(text: str) -> tuple[int, int] | None:
    found = _MARK.search(text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _mark(text: str) -> str:
    found = _MARK.search(text)
    return found.group(3) if found else ""


def _fingerprint(inputs: list[object], bound: tuple[int, int]) -> str:
    return digest_of(canonical_json([inputs, bound]))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _preferences(text: str) -> str:
    """The versions that a lock pins, whatever else somebody's merge left in it."""
    return "".join(f"{line}\n" for line in Lock(text).packages if re.match(r"[\w.-]+==\S", line))


def _tidy(text: str) -> str:
    """The lock that uv wrote, without index addresses, and with editable packages as plain ones.

    The user's uv.toml may ask for addresses in the output.
    """
    lines = text.partition("\n# The following packages were excluded from the output")[0]
    kept = [
        line.removeprefix("-e ")
        for line in lines.splitlines()
        if not line.startswith("--") and not re.match(r"\s*# from \S+://", line)
    ]
    return "\n".join(kept).rstrip() + "\n"
