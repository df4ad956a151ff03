"""Which files of a folder are left out of its bundle.

The first of these files that exists has the say: ``.dcfignore``, ``.dockerignore``, ``.gitignore``.

- ``.dcfignore`` and ``.gitignore`` mean what git means: a pattern without a slash matches at any
  depth, and nothing below an ignored folder can be taken back.
- ``.dockerignore`` means what Docker means: every pattern is anchored at the folder, the last one
  that matches decides, and ``!`` takes back even below an ignored folder.

Whatever they say, version control, caches, virtual environments and the lock stay out.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from pathspec import GitIgnoreSpec, PathSpec

from dcf.errors import BundleInvalid

IGNORE_FILES = (".dcfignore", ".dockerignore", ".gitignore")
"""In the order in which they are asked."""

LOCK_NAME = "requirements.lock"
"""The lock: it travels as the other half of an artifact, so it is not in the bundle."""

ALWAYS = (".git", "__pycache__", "*.pyc", ".venv", ".dcf*", "*.egg-info")
"""Names left out at any depth. ``*.egg-info`` is what building a package leaves beside it."""

ENVIRONMENT_MARK = "pyvenv.cfg"
"""A folder with this file is a virtual environment, whatever its name."""


class IgnoreRules:
    """The rules of one folder."""

    def __init__(self, lines: Sequence[str], *, docker: bool = False) -> None:
        git = GitIgnoreSpec.from_lines([_anchored(line) for line in lines] if docker else lines)
        self._spec = PathSpec(git.patterns) if docker else git
        self._takes_back = docker and any(line.strip().startswith("!") for line in lines)

    @classmethod
    def of(cls, folder: Path) -> IgnoreRules:
        """Reads a folder's rules.

        Raises:
            BundleInvalid: When its ignore file cannot be read.
        """
        for name in IGNORE_FILES:
            try:
                lines = (folder / name).read_text(encoding="utf-8-sig").splitlines()
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise BundleInvalid(f"{folder / name} cannot be read: {error}") from error
            return cls(lines, docker=name == ".dockerignore")
        return cls([])

    def leaves_out_file(self, path: str) -> bool:
        """Whether a file is left out.

        Args:
            path: Relative to the folder, with ``/``.
        """
        return path == LOCK_NAME or _is_always_out(path) or self._spec.match_file(path)

    def leaves_out_folder(self, path: str) -> bool:
        """Whether nothing in a folder can be part of the bundle."""
        if _is_always_out(path):
            return True
        return not self._takes_back and self._spec.match_file(path + "/")


def _is_always_out(path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALWAYS)


def _anchored(line: str) -> str:
    """A line of Docker's as a line of git's."""
    pattern = line.strip()
    if not pattern or pattern.startswith("#"):
        return ""
    mark = "!" if pattern.startswith("!") else ""
    return f"{mark}/{pattern.removeprefix('!').strip().strip('/')}"
