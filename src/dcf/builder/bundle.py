"""Makes a bundle of a folder's files.

Links are followed: their targets become part of the bundle even outside the folder, because models
often live elsewhere. A file is not read again as long as its size, its times and its inode are the
same.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcf.builder.blobs import CHUNK, Blobs
from dcf.builder.build_progress import Listener, count_text, size_text, step
from dcf.builder.ignore import ENVIRONMENT_MARK, IgnoreRules
from dcf.errors import BundleInvalid
from dcf.model.artifact import Bundle, BundleFile

TRIES = 3
"""Attempts to read a folder whose files change meanwhile. An editor's save is over at once."""

RACY_NS = 100_000_000
"""A file that changed less than this before it was read may change again without a new time stamp.
The next build reads it again (git: Documentation/technical/racy-git.txt). Time stamps move with the
kernel's clock, every 10 ms at the slowest."""

COARSE_NS = 10_000_000
"""A time stamp that is a multiple of this almost always comes from a file system with a coarse
clock."""

COARSE_RACY_NS = 2_000_000_000
"""``RACY_NS`` for file systems with a coarse clock: FAT's moves every two seconds."""

FileStats = dict[str, list[int | str]]
"""The recorded stats of each file; :class:`dcf.builder.folders.FolderRecord` lists the items."""


class _Changed(Exception):
    """A file changed or vanished while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Found:
    """A file in the folder.

    Attributes:
        path: Relative to the folder, with ``/``.
        place: The path to open.
        stat: The status of the target if the file is a link.
    """

    path: str
    place: Path
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading a folder.

    Attributes:
        bundle: The folder's files.
        stats: The stats to pass to the next reading.
        read: How many files had to be read.
    """

    bundle: Bundle
    stats: FileStats
    read: int


def read_folder(
    folder: Path,
    blobs: Blobs,
    known: Mapping[str, list[int | str]],
    listener: Listener,
    private: Iterable[Path] = (),
) -> Reading:
    """Store a folder's files as blobs.

    Args:
        folder: An existing folder.
        blobs: Receives the files' contents.
        known: The stats of an earlier reading; empty to read everything.
        listener: Receives progress.
        private: Files to exclude, as in :func:`find_files`.

    Raises:
        BundleInvalid: If a file cannot be part of a bundle.
        StorageError: If a blob cannot be written.
    """
    changed, private = "", tuple(private)
    for _ in range(TRIES):
        try:
            return _read_once(list(find_files(folder, private)), blobs, known, listener)
        except _Changed as error:
            changed = error.path
    raise BundleInvalid(
        f"expected files that do not change while they are read, got changes of {changed} in "
        f"{TRIES} attempts; stop the program that writes it, or exclude it in .dcfignore"
    )


def _read_once(
    files: Sequence[Found],
    blobs: Blobs,
    known: Mapping[str, list[int | str]],
    listener: Listener,
) -> Reading:
    stats: FileStats = {}
    unread: list[Found] = []
    for file in files:
        entry = known.get(file.path)
        if entry is not None and _is_current(entry, file.stat, blobs):
            stats[file.path] = list(entry)
        else:
            unread.append(file)
    if unread:
        size = size_text(sum(file.stat.st_size for file in unread))
        with step(listener, "bundle", f"reading {count_text(len(unread), 'file')}, {size}"):
            for file in unread:
                listener.output(f"{file.path}, {size_text(file.stat.st_size)}")
                stats[file.path] = _store(file, blobs)
    bundled = [
        BundleFile(
            file.path,
            digest=str(stats[file.path][-1]),
            size=file.stat.st_size,
            executable=bool(file.stat.st_mode & stat.S_IXUSR),
        )
        for file in files
    ]
    return Reading(Bundle(tuple(sorted(bundled))), stats, len(unread))


def find_files(folder: Path, private: Iterable[Path] = ()) -> Iterator[Found]:
    """Yield the files of a folder that belong to its bundle, in no order.

    Args:
        folder: An existing folder.
        private: Files to exclude under any path or link; they need not exist.

    Raises:
        BundleInvalid: If something in the folder cannot be part of a bundle.
    """
    rules = IgnoreRules.of(folder)
    excluded = {inode for path in private if (inode := _inode(path)) is not None}
    for file in _walk(folder, "", rules, parents=()):
        if (file.stat.st_dev, file.stat.st_ino) not in excluded:
            yield file


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # missing or unreadable; the code that reads the file raises the error
    return status.st_dev, status.st_ino


def _walk(
    place: Path, path: str, rules: IgnoreRules, parents: tuple[tuple[int, int], ...]
) -> Iterator[Found]:
    shown = path or "."
    try:
        status = place.stat()
        with os.scandir(place) as scan:
            entries = list(scan)
    except FileNotFoundError:
        raise _Changed(shown) from None
    except OSError as error:
        raise _unreadable(shown, error) from error
    inode = (status.st_dev, status.st_ino)
    if inode in parents:
        raise BundleInvalid(
            f"{shown}: expected a folder, got a link to a folder that contains it; {_EXCLUDE}"
        )
    if path and any(entry.name == ENVIRONMENT_MARK for entry in entries):
        return
    for entry in entries:
        below = f"{path}/{entry.name}" if path else entry.name
        if rules.leaves_out_folder(below) and rules.leaves_out_file(below):
            continue
        status = _status(entry, below)
        if stat.S_ISDIR(status.st_mode):
            if not rules.leaves_out_folder(below):
                yield from _walk(Path(entry.path), below, rules, (*parents, inode))
        elif not rules.leaves_out_file(below):
            _check_file(below, status)
            yield Found(below, Path(entry.path), status)


_EXCLUDE = "remove it, or exclude it in .dcfignore"


def _unreadable(path: str, error: OSError) -> BundleInvalid:
    return BundleInvalid(
        f"{path} cannot be read: {error.strerror}; change its permissions, or exclude it in "
        ".dcfignore"
    )


def _status(entry: os.DirEntry[str], path: str) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:
        if not entry.is_symlink():
            raise _Changed(path) from None
        target = Path(entry.path).readlink()
        raise BundleInvalid(
            f"{path}: expected a file, got a link to {target}, which does not exist; {_EXCLUDE}"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_file(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a socket" if stat.S_ISSOCK(status.st_mode) else "a pipe or a device"
        raise BundleInvalid(f"{path}: expected a file, got {kind}; {_EXCLUDE}")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BundleInvalid(f"expected a name in UTF-8, got {path!r}; rename the file") from None


def _is_current(entry: list[int | str], status: os.stat_result, blobs: Blobs) -> bool:
    *identity, read, digest = entry
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    margin = RACY_NS if status.st_ctime_ns % COARSE_NS else COARSE_RACY_NS
    return (
        identity == _identity(status)
        and changed < int(read) - margin
        and blobs.has(str(digest), status.st_size)
    )


def _identity(status: os.stat_result) -> list[int]:
    return [
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_dev,
        status.st_ino,
    ]


def _store(file: Found, blobs: Blobs) -> list[int | str]:
    begin = time.time_ns()
    digest, _ = blobs.add(_chunks(file))
    return [*_identity(file.stat), begin, digest]


def _chunks(file: Found) -> Iterator[bytes]:
    """Yield the file's content; raise ``_Changed`` if the file changed since it was found."""
    try:
        with file.place.open("rb", buffering=0) as opened:
            if _identity(os.fstat(opened.fileno())) != _identity(file.stat):
                raise _Changed(file.path)
            while chunk := opened.read(CHUNK):
                yield chunk
            if _identity(os.fstat(opened.fileno())) != _identity(file.stat):
                raise _Changed(file.path)
    except FileNotFoundError:
        raise _Changed(file.path) from None
    except OSError as error:
        raise _unreadable(file.path, error) from error
