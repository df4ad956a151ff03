"""Decides which files of a folder to exclude from its bundle.

The first of these files that exists applies: ``.dcfignore``, ``.dockerignore``, ``.gitignore``.

- ``.dcfignore`` and ``.gitignore`` follow git's rules: a pattern without a slash matches at any
  depth, and ``!`` cannot include anything below an ignored folder.
- ``.dockerignore`` follows Docker's rules: every pattern is anchored at the folder, the last
  pattern that matches decides, and ``!`` also includes files below an ignored folder.

No line is an error (:mod:`dcf.builder.gitignore`). Version control, caches, virtual environments
and the lock are always excluded.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from dcf.builder.gitignore import Pattern, Patterns, lines_of
from dcf.errors import BundleInvalid

IGNORE_FILES = (".dcfignore", ".dockerignore", ".gitignore")
"""Ignore files in order of precedence."""

LOCK_NAME = "requirements.lock"
"""The lock. It is not in the bundle, because it is the other half of an artifact."""

ALWAYS = (".git", "__pycache__", "*.pyc", ".venv", ".dcf*", "*.egg-info")
"""Names that are excluded at any depth. Building a package leaves ``*.egg-info`` next to it."""

ENVIRONMENT_MARK = "pyvenv.cfg"
"""A folder that contains this file is a virtual environment."""


SIZE_LIMIT = 4 * 1024**2
"""Maximum bytes of an ignore file. A larger file is data with a misleading name."""


class IgnoreRules:
    """The rules of one folder."""

    def __init__(self, lines: Sequence[str | bytes], *, docker: bool = False) -> None:
        given = [os.fsencode(line) for line in lines]
        self._docker = docker
        self._patterns = Patterns(map(_anchored, given) if docker else given)
        self._known: dict[bytes, bool] = {b"": False}

    @classmethod
    def of(cls, folder: Path) -> IgnoreRules:
        """Read a folder's rules.

        Raises:
            BundleInvalid: If the ignore file cannot be read.
        """
        for name in IGNORE_FILES:
            content = _content(folder / name)
            if content is not None:
                return cls(lines_of(content), docker=name == ".dockerignore")
        return cls([])

    def leaves_out_file(self, path: str) -> bool:
        """Return whether to exclude a file.

        Args:
            path: The file's path relative to the folder, with ``/``.
        """
        return path == LOCK_NAME or _is_always_out(path) or self._matches(path, is_folder=False)

    def leaves_out_folder(self, path: str) -> bool:
        """Return whether to exclude everything in a folder."""
        if _is_always_out(path):
            return True
        may_hold = self._docker and self._patterns.take_back
        return not may_hold and self._matches(path, is_folder=True)

    def _matches(self, path: str, *, is_folder: bool) -> bool:
        encoded = os.fsencode(path)
        if self._docker:
            return self._matches_as_docker(encoded, is_folder=is_folder)
        return self._is_ignored_folder(encoded.rpartition(b"/")[0]) or self._decides(
            encoded, is_folder=is_folder
        )

    def _is_ignored_folder(self, path: bytes) -> bool:
        known = self._known.get(path)
        if known is None:
            parent = path.rpartition(b"/")[0]
            known = self._is_ignored_folder(parent) or self._decides(path, is_folder=True)
            self._known[path] = known
        return known

    def _decides(self, path: bytes, *, is_folder: bool) -> bool:
        """Return whether the last pattern that matches a path excludes it."""
        pattern = self._patterns.last_match(path, is_folder=is_folder)
        return pattern is not None and not pattern.takes_back

    def _matches_as_docker(self, path: bytes, *, is_folder: bool) -> bool:
        """Return whether the last pattern that matches a path or its folders excludes it."""
        parts = path.split(b"/")
        parents = (b"/".join(parts[:count]) for count in range(1, len(parts)))
        matches = [self._patterns.last_match(folder, is_folder=True) for folder in parents]
        matches.append(self._patterns.last_match(path, is_folder=is_folder))
        last: Pattern | None = max(
            (pattern for pattern in matches if pattern is not None),
            key=lambda pattern: pattern.index,
            default=None,
        )
        return last is not None and not last.takes_back


def _content(path: Path) -> bytes | None:
    """Return the content of an ignore file; None if it is missing or is a folder."""
    try:
        # If the file is a pipe, the build must not wait for a writer.
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleInvalid(
                    f"{path}: expected a file or a link to a file, got a pipe, a socket or a device"
                )
            content = file.read(SIZE_LIMIT + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise BundleInvalid(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > SIZE_LIMIT:
        raise BundleInvalid(
            f"{path}: expected an ignore file of at most {SIZE_LIMIT} bytes, got a larger file"
        )
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _is_always_out(path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALWAYS)


def _anchored(line: bytes) -> bytes:
    """Translate a line of .dockerignore into git's syntax."""
    pattern = line.strip()
    if pattern.startswith(b"#"):
        return b""
    mark = b"!" if pattern.startswith(b"!") else b""
    pattern = pattern.removeprefix(b"!").strip().strip(b"/")
    return mark + b"/" + pattern if pattern else b""
