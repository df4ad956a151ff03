"""Reads a requirements.txt: includes, indexes, local paths.

uv reads the file itself. This module reads it for what uv does not do: to detect that a lock is out
of date, to keep index addresses out of the lock, and to check that local paths are in the
function's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dcf.builder.requirement_lines import (
    LineInvalid,
    LineKind,
    Option,
    check_requirement,
    logical_lines,
    read_option,
)
from dcf.errors import RequirementsInvalid

REQUIREMENTS_NAME = "requirements.txt"

OWN_NAMES = frozenset({"dcframework", "dcf-runtime"})
"""The framework itself. The build installs it, in the matching version."""

NESTED = 20
"""Maximum depth of nested includes."""

LINES = 100_000
"""Maximum number of lines. Included files count each time: 30 files, each of which includes the
next one twice, would have a billion."""

PATH_LIMIT = 1024
"""Maximum bytes of a path."""

_ARCHIVE = re.compile(r"\.(whl|tar\.gz|tar\.bz2|tar\.xz|tgz|zip)$")
_NAMED = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*\s*(?:\[[^]]*\])?\s*@\s*")


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a line, for messages."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(slots=True)
class Requirements:
    """The content of a requirements.txt.

    Attributes:
        exists: Whether the folder has a requirements.txt.
        lines: All lines with content, in order, including those of included files.
        indexes: Lines that set where to find packages; their paths are absolute.
        build_options: Lines that set whether packages may be built.
        flags: Options for uv's command line.
        local: Local paths, relative to the folder, with the lines that name them.
        editable: Lines that request an editable install.
        requirements: Number of requirements.
    """

    exists: bool = False
    lines: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    build_options: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    local: list[tuple[str, Place]] = field(default_factory=list)
    editable: list[Place] = field(default_factory=list)
    requirements: int = 0


def read_requirements(folder: Path, fetch: Callable[[Path], None] = lambda _: None) -> Requirements:
    """Read the requirements.txt of a folder. A missing file counts as empty.

    Args:
        folder: The function's folder.
        fetch: Called with each path before it is read, so that the caller can create it.

    Raises:
        RequirementsInvalid: If a file cannot be read, a line is invalid, a local path is outside
            the folder, or the framework itself is required. The error names the line.
    """
    fetch(folder / REQUIREMENTS_NAME)
    content = Requirements(exists=(folder / REQUIREMENTS_NAME).exists())
    if content.exists:
        reader = _Reader(folder, content, fetch)
        reader.read(folder / REQUIREMENTS_NAME, REQUIREMENTS_NAME, seen=())
    return content


def local_path(requirement: str) -> str | None:
    """Return the local path that a requirement names; None if it comes from an index or a URL.

    Args:
        requirement: A line without its comment and without ``-e``.
    """
    text = _NAMED.sub("", requirement, count=1) if _NAMED.match(requirement) else requirement
    named = text is not requirement
    text = re.split(r"\s+;|\s+--hash", text, maxsplit=1)[0].strip()
    if text.startswith("file:"):
        return text.removeprefix("file://").removeprefix("file:")
    if "://" in text:
        return None
    text = re.sub(r"\[[^]]*\]$", "", text.split(";")[0].strip())
    if named or text.startswith((".", "/", "~")) or "/" in text or _ARCHIVE.search(text):
        return text
    return None


def check_lock(text: str, name: str) -> None:
    """Check that every line of a lock is a requirement: uv reads the file itself.

    Args:
        text: The lock.
        name: The file's name, for messages.

    Raises:
        RequirementsInvalid: If a line is not; the error names it.
    """
    try:
        for number, line in logical_lines(text):
            with _placed(Place(name, number)):
                check_requirement(line)
    except LineInvalid as error:
        raise RequirementsInvalid(f"{Place(name, error.line)}: {error.reason}") from None


@contextmanager
def _placed(place: Place) -> Iterator[None]:
    """Add the line to an error in the block."""
    try:
        yield
    except LineInvalid as error:
        raise RequirementsInvalid(f"{place}: {error.reason}") from None


class _Reader:
    def __init__(self, folder: Path, content: Requirements, fetch: Callable[[Path], None]) -> None:
        self._folder = folder
        self._content = content
        self._fetch = fetch

    def read(
        self, path: Path, name: str, seen: tuple[Path, ...], *, constraints: bool = False
    ) -> None:
        for number, line in _lines(path, name):
            self._content.lines.append(line)
            place = Place(name, number)
            with _placed(place):
                option = read_option(line)
                if option is None:
                    check_requirement(line)
            if option is not None:
                self._option(option, line, path, place, seen, constraints=constraints)
            elif not constraints:
                self._requirement(line, place)

    def _option(
        self,
        option: Option,
        line: str,
        path: Path,
        place: Place,
        seen: tuple[Path, ...],
        *,
        constraints: bool,
    ) -> None:
        content, value = self._content, option.value
        match option.kind:
            case LineKind.INCLUDE | LineKind.CONSTRAINTS:
                within = constraints or option.kind is LineKind.CONSTRAINTS
                self._include(path, value, place, (*seen, path), constraints=within)
            case LineKind.EDITABLE:
                with _placed(place):
                    check_requirement(value)
                content.editable.append(place)
                self._requirement(value, place)
            case LineKind.FIND_LINKS:
                content.indexes.append(f"--find-links {self._absolute(path.parent, value, place)}")
            case LineKind.INDEX | LineKind.NO_INDEX:
                content.indexes.append(line)
            case LineKind.BUILD:
                content.build_options.append(line)
            case LineKind.PRERELEASE:
                content.flags += ["--prerelease", "allow"]
            case LineKind.TRUSTED_HOST:
                content.flags += ["--allow-insecure-host", value]

    def _include(
        self, path: Path, value: str, place: Place, seen: tuple[Path, ...], *, constraints: bool
    ) -> None:
        _check_path(value, place)
        relative = os.path.relpath(path.parent / value, self._folder)
        if "://" in value or relative == ".." or relative.startswith("../"):
            raise RequirementsInvalid(
                f"{place}: expected a file in the function's folder, got {value}; copy it there"
            )
        if len(seen) > NESTED:
            raise RequirementsInvalid(f"{place}: expected at most {NESTED} nested files, got more")
        if len(self._content.lines) > LINES:
            raise RequirementsInvalid(
                f"{place}: expected at most {LINES} lines in all included files, got more"
            )
        self._fetch(path.parent / value)
        included = Path(os.path.realpath(path.parent / value))
        if included in {file.resolve() for file in seen}:
            raise RequirementsInvalid(
                f"{place}: expected another file, got {value}, which includes itself"
            )
        if not included.is_file():
            raise RequirementsInvalid(
                f"{place}: expected an existing file, got {value}; create it, or fix the path"
            )
        self.read(path.parent / value, value, seen, constraints=constraints)

    def _requirement(self, requirement: str, place: Place) -> None:
        self._content.requirements += 1
        local = local_path(requirement)
        if local is not None:
            self._content.local.append((self._within(local, place), place))
            return
        match = re.match(r"[A-Za-z0-9][-A-Za-z0-9._]*", requirement)
        name = re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""
        if name in OWN_NAMES:
            raise RequirementsInvalid(
                f"{place}: expected a package other than {name}, which every environment has in "
                f"the matching version, got {requirement!r}; delete the line"
            )

    def _within(self, path: str, place: Place) -> str:
        """Return the path relative to the folder, if it has the same meaning on every machine."""
        _check_path(path, place)
        if "${" in path or path.startswith("~"):
            raise RequirementsInvalid(
                f"{place}: expected a path relative to the folder, got {path}, which depends on"
                " this machine"
            )
        # Links are not resolved: the bundle has a link's target at the path of the link.
        relative = os.path.relpath(self._folder / path, self._folder)
        if relative == ".." or relative.startswith("../"):
            raise RequirementsInvalid(
                f"{place}: expected a path in the function's folder, got {path}; copy the package"
                " there"
            )
        if Path(path).is_absolute():
            raise RequirementsInvalid(
                f"{place}: expected a path relative to the folder, got {path}; write ./{relative}"
            )
        self._fetch(self._folder / path)
        if not (self._folder / path).exists():
            raise RequirementsInvalid(
                f"{place}: expected an existing file or folder, got {path}; fix the path"
            )
        return relative

    def _absolute(self, folder: Path, value: str, place: Place) -> str:
        if "://" in value:
            return value
        _check_path(value, place)
        self._fetch(folder / value)
        return str(folder / value)


def _check_path(path: str, place: Place) -> None:
    """Check that the operating system accepts a path."""
    data = os.fsencode(path)
    if b"\0" in data or len(data) > PATH_LIMIT or any(len(part) > 255 for part in data.split(b"/")):  # noqa: PLR2004  limit of file systems
        raise RequirementsInvalid(f"{place}: expected a path, got {path[:80]!r}")


def _lines(path: Path, name: str) -> list[tuple[int, str]]:
    try:
        return list(logical_lines(_text(path, name)))
    except LineInvalid as error:
        raise RequirementsInvalid(f"{Place(name, error.line)}: {error.reason}") from None


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequirementsInvalid(
            f"{name}: expected UTF-8, got another encoding at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise RequirementsInvalid(f"{name} cannot be read: {error.strerror}") from error
