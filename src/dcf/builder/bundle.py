"""From a folder's files to a bundle.

Links are followed: what they lead to becomes part of the bundle, wherever it lies, because models
often live elsewhere. A file that was read before is not read again as long as its size, its times
and its inode are the same.
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
"""How often a folder is read while somebody writes into it: an editor's save is over at once."""

RACY_NS = 100_000_000
"""A file changed less than this before it was read may change again without a new time stamp, so
what is known of it is not trusted the next time (git: Documentation/technical/racy-git.txt). Time
stamps move with the kernel's clock, every 10 ms at the slowest."""

COARSE_NS = 10_000_000
"""A time stamp that is a multiple of this comes from a file system with a coarse clock, or nearly
never from another."""

COARSE_RACY_NS = 2_000_000_000
"""The same as ``RACY_NS`` where the clock is coarse: FAT's moves every two seconds."""

FileStats = dict[str, list[int | str]]
"""What is known of each file; :class:`dcf.builder.folders.FolderRecord` says what the items are."""


class _Changed(Exception):
    """A file changed or vanished while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class Found:
    """A file in the folder.

    Attributes:
        path: Relative, with ``/``.
        place: Where it can be opened.
        stat: What is at the end of its links.
    """

    path: str
    place: Path
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class Reading:
    """A folder as it was read.

    Attributes:
        bundle: Its files.
        stats: What to pass the next time.
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
    """Stores the folder's files as blobs.

    Args:
        folder: An existing folder.
        blobs: Where to put them.
        known: The stats of an earlier reading; empty to read everything.
        listener: Hears how much is read.
        private: Files to exclude, as in :func:`find_files`.

    Raises:
        BundleInvalid: When a file cannot be part of a bundle.
        StorageError: When a blob cannot be written.
    """
    changed, private = "", tuple(private)
    for _ in range(TRIES):
        try:
            return _read_once(list(find_files(folder, private)), blobs, known, listener)
        except _Changed as error:
            changed = error.path
    raise BundleInvalid(f"{changed} changes while it is read")


def _read_once(
    found: Sequence[Found],
    blobs: Blobs,
    known: Mapping[str, list[int | str]],
    listener: Listener,
) -> Reading:
    stats: FileStats = {}
    unread: list[Found] = []
    for file in found:
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
    files = [
        BundleFile(
            file.path,
            digest=str(stats[file.path][-1]),
            size=file.stat.st_size,
            executable=bool(file.stat.st_mode & stat.S_IXUSR),
        )
        for file in found
    ]
    return Reading(Bundle(tuple(sorted(files))), stats, len(unread))


def find_files(folder: Path, private: Iterable[Path] = ()) -> Iterator[Found]:
    """The files of a folder that belong into its bundle, in no order.

    Args:
        folder: An existing folder.
        private: Files to exclude, whatever path or link leads to them; they need not exist.

    Raises:
        BundleInvalid: When something there cannot be part of a bundle.
    """
    rules = IgnoreRules.of(folder)
    left_out = {identity for path in private if (identity := _inode(path)) is not None}
    for found in _walk(folder, "", rules, above=()):
        if (found.stat.st_dev, found.stat.st_ino) not in left_out:
            yield found


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # missing or unreadable; the error is raised where the file is read
    return status.st_dev, status.st_ino


def _walk(
    place: Path, path: str, rules: IgnoreRules, above: tuple[tuple[int, int], ...]
) -> Iterator[Found]:
    shown = path or "."
    try:
        here = place.stat()
        with os.scandir(place) as scan:
            entries = list(scan)
    except FileNotFoundError:
        raise _Changed(shown) from None
    except OSError as error:
        raise BundleInvalid(f"{shown} cannot be read: {error.strerror}") from error
    itself = (here.st_dev, here.st_ino)
    if itself in above:
        raise BundleInvalid(f"{shown} is a link that leads back to a folder around it")
    if path and any(entry.name == ENVIRONMENT_MARK for entry in entries):
        return
    for entry in entries:
        below = f"{path}/{entry.name}" if path else entry.name
        if rules.leaves_out_folder(below) and rules.leaves_out_file(below):
            continue
        status = _status(entry, below)
        if stat.S_ISDIR(status.st_mode):
            if not rules.leaves_out_folder(below):
                yield from _walk(Path(entry.path), below, rules, (*above, itself))
        elif not rules.leaves_out_file(below):
            yield Found(_checked(below, status), Path(entry.path), status)


def _status(entry: os.DirEntry[str], path: str) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:
        if not entry.is_symlink():
            raise _Changed(path) from None
        target = Path(entry.path).readlink()
        raise BundleInvalid(f"{path} is a link to {target}, which does not exist") from None
    except OSError as error:
        raise BundleInvalid(f"{path} cannot be read: {error.strerror}") from error


def _checked(path: str, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        kind = "a socket" if stat.S_ISSOCK(status.st_mode) else "a pipe or a device"
        raise BundleInvalid(f"{path} is {kind}, not a file")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BundleInvalid(f"{path!r} has a name that is not UTF-8") from None
    return path


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
    """The file's content, if it is the file that was found from beginning to end."""
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
        raise BundleInvalid(f"{file.path} cannot be read: {error.strerror}") from error
