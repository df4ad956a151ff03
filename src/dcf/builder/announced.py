"""Validates the file list and the lock that a client announces for an upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dcf.builder.build_progress import count_text
from dcf.builder.checkout import checked_path
from dcf.builder.store import DIGEST_FORM
from dcf.errors import BundleInvalid
from dcf.model.artifact import BundleFile, is_digest

PART_LIMIT = 255
"""Maximum bytes of one part of a path: the limit of file systems."""

PATH_LIMIT = 1024
"""Maximum bytes of a path. The kernel's limit is 4096 (``PATH_MAX``), including the folder that
holds the files."""

LOCK_LIMIT = 8 * 1024**2
"""Maximum bytes of a lock: some 5,000 packages with a hash for each of their files."""


def check_files(files: Sequence[BundleFile], most_bytes: int, most_files: int) -> None:
    """Check that files can form a bundle.

    Args:
        files: The files, in any order.
        most_bytes: Maximum total size in bytes.
        most_files: Maximum number of files.

    Raises:
        BundleInvalid: Names the first file that is invalid.
    """
    if len(files) > most_files:
        allowed = count_text(most_files, "file")
        raise BundleInvalid(f"expected at most {allowed}, got {len(files)}; {_SHRINK}")
    sizes: dict[str, int] = {}
    total = 0
    for file in files:
        _check_path(file.path)
        if not is_digest(file.digest):
            raise BundleInvalid(f"{file.path}: expected {DIGEST_FORM}, got {file.digest!r}")
        if file.size < 0:
            raise BundleInvalid(f"{file.path}: expected a size of 0 or more, got {file.size}")
        size = sizes.setdefault(file.digest, file.size)
        if size != file.size:
            raise BundleInvalid(
                f"{file.path}: expected {count_text(size, 'byte')}, as for another file with the "
                f"digest {file.digest}, got {file.size}"
            )
        total += file.size
    if total > most_bytes:
        raise BundleInvalid(f"expected at most {most_bytes} bytes in all, got {total}; {_SHRINK}")
    _check_tree([file.path for file in files])


_SHRINK = "exclude files in .dcfignore"


def check_lock(text: str) -> None:
    """Check that a lock is text, and within ``LOCK_LIMIT``.

    Raises:
        BundleInvalid: If it is not.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise BundleInvalid(
            f"the lock: expected text, got half of a character at position {error.start}"
        ) from None
    if "\0" in text:
        raise BundleInvalid(f"the lock: expected text, got NUL at position {text.index(chr(0))}")
    if len(data) > LOCK_LIMIT:
        raise BundleInvalid(f"the lock: expected at most {LOCK_LIMIT} bytes, got {len(data)}")


def _check_path(path: str) -> None:
    checked_path(path)
    try:
        data = path.encode()
    except UnicodeEncodeError:
        raise BundleInvalid(f"expected a path in UTF-8, got {path!r}") from None
    if len(data) > PATH_LIMIT:
        raise BundleInvalid(
            f"{path[:80]!r}...: expected a path of at most {PATH_LIMIT} bytes, got {len(data)}"
        )
    if len(data) > PART_LIMIT:
        longest = max(len(part) for part in data.split(b"/"))
        if longest > PART_LIMIT:
            raise BundleInvalid(
                f"{path[:80]!r}...: expected names of at most {PART_LIMIT} bytes, got {longest}"
            )


def _check_tree(paths: Sequence[str]) -> None:
    """Check that no path occurs twice, and that no file is also a folder."""
    files = set(paths)
    if len(files) < len(paths):
        ((path, times),) = Counter(paths).most_common(1)
        raise BundleInvalid(f"expected each path once, got {path!r} {times} times")
    folders: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            if parent in files:
                raise BundleInvalid(
                    f"{path!r}: expected {parent!r} to be a folder, got a file of that name"
                )
            folders.add(parent)
            parent = parent.rpartition("/")[0]
