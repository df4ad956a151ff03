"""Checks of what a stranger announces to upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dcf.builder.build_progress import count_text
from dcf.builder.checkout import checked_path
from dcf.errors import BundleInvalid
from dcf.model.artifact import BundleFile, is_digest

PART_LIMIT = 255
"""Bytes of one part of a path: what file systems take."""

PATH_LIMIT = 1024
"""Bytes of a path. The kernel takes 4096 (``PATH_MAX``), the folder around it included."""

LOCK_LIMIT = 8 * 1024**2
"""Bytes of a lock: some 5,000 packages with a hash for each of their files."""


def check_files(files: Sequence[BundleFile], most_bytes: int, most_files: int) -> None:
    """Checks that some files can be a bundle.

    Args:
        files: In any order.
        most_bytes: That they may have in all.
        most_files: How many there may be.

    Raises:
        BundleInvalid: With the first that is wrong.
    """
    if len(files) > most_files:
        raise BundleInvalid(f"{count_text(len(files), 'file')}, {most_files} are allowed")
    sizes: dict[str, int] = {}
    total = 0
    for file in files:
        _check_path(file.path)
        if not is_digest(file.digest):
            raise BundleInvalid(
                f"{file.path}: {file.digest!r} is no digest; it is sha256: and 64 digits, 0 to f"
            )
        if file.size < 0:
            raise BundleInvalid(f"{file.path}: {file.size} is no size")
        if sizes.setdefault(file.digest, file.size) != file.size:
            raise BundleInvalid(
                f"{file.path}: {file.size} bytes here, {sizes[file.digest]} bytes elsewhere, and "
                f"one digest, {file.digest}"
            )
        total += file.size
    if total > most_bytes:
        raise BundleInvalid(f"{total} bytes in all, {most_bytes} are allowed")
    _check_tree([file.path for file in files])


def check_lock(text: str) -> None:
    """Checks that a lock is text, and no longer than a lock can be.

    Raises:
        BundleInvalid: When it is not.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise BundleInvalid(
            f"the lock is no text: character {error.start} is half of one"
        ) from None
    if "\0" in text:
        raise BundleInvalid(f"the lock is no text: character {text.index(chr(0))} is NUL")
    if len(data) > LOCK_LIMIT:
        raise BundleInvalid(f"the lock has {len(data)} bytes, {LOCK_LIMIT} are allowed")


def _check_path(path: str) -> None:
    checked_path(path)
    try:
        data = path.encode()
    except UnicodeEncodeError:
        raise BundleInvalid(f"{path!r} is a path that is not UTF-8") from None
    if len(data) > PATH_LIMIT:
        raise BundleInvalid(f"{path[:80]!r}...: a path may have {PATH_LIMIT} bytes")
    if len(data) > PART_LIMIT and any(len(part) > PART_LIMIT for part in data.split(b"/")):
        raise BundleInvalid(f"{path[:80]!r}...: a name in a path may have {PART_LIMIT} bytes")


def _check_tree(paths: Sequence[str]) -> None:
    """Checks that no path is there twice, or both a file and a folder."""
    files = set(paths)
    if len(files) < len(paths):
        ((path, times),) = Counter(paths).most_common(1)
        raise BundleInvalid(f"{path!r} is there {times} times")
    folders: set[str] = set()
    for path in paths:
        above = path.rpartition("/")[0]
        while above and above not in folders:
            if above in files:
                raise BundleInvalid(f"{above!r} is a file, and {path!r} lies in it as in a folder")
            folders.add(above)
            above = above.rpartition("/")[0]
