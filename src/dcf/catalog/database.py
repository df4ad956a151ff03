"""The catalog's SQLite file: opened with care, written in whole transactions.

A transaction that has ended well is on the disk (``synchronous=FULL``): it outlives a kill of every
process at any instant, and a loss of power as far as the disk keeps its word.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import disk_usage

from dcf.catalog.migrations import APPLICATION_ID, MIGRATIONS, migrate
from dcf.errors import CatalogUnusable, DiskFull, StorageError
from dcf.files.atomic import open_private, sync_folder
from dcf.files.storage import writing

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction: each is a few milliseconds, so whoever waits
longer waits for something that is stuck."""

BUSY_PAUSE = 0.005
"""Seconds between two tries where SQLite does not wait by itself."""

NO_ROOM = 256 * 1024
"""Bytes. SQLite tells some writes that found no room as plain input/output errors; with less than
this free, that is what they are. Its index of the log grows by 32 KiB at a time."""

SMALLEST = 512
"""Bytes of the smallest page. SQLite takes a shorter file for an empty one and overwrites it."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNFINISHED = frozenset({sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY})
_IO = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_PRIMARY = 0xFF
"""The lower byte of SQLite's extended codes is the plain code."""


class Database:
    """One connection, used by one thread at a time.

    Args:
        path: The file, made when it is not there; None keeps everything in memory, for tests.
        migrations: The schema's steps; others than the default are for tests.

    Raises:
        CatalogUnusable: When the file is damaged, no catalog, or from a newer version; nothing in
            it is changed.
        DiskFull: When no space is left.
        StorageError: When it cannot be opened for another reason.
    """

    def __init__(self, path: Path | None, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        self._path = path
        self._turn = threading.RLock()
        self._written = 0
        if path is not None:
            _prepare(path)
            self._look(path, len(migrations))
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            with self._explained():
                self._open(migrations)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, migrations: Sequence[Sequence[str]]) -> None:
        connection = self._connection
        _log_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # What a deleted function's environment said must not linger in free pages.
        connection.execute("PRAGMA secure_delete=ON")
        migrate(connection, migrations)

    def _look(self, path: Path, known: int) -> None:
        """Checks the file, if possible without the right to change it: closing would write to it.

        A file whose maker was killed half-way must first be set back, which needs that right.
        """
        if 0 < path.stat().st_size < SMALLEST:
            raise CatalogUnusable(f"{path} is damaged, or no catalog: it is too short")
        with self._explained():
            try:
                _inspect(path, "ro", known)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in _UNFINISHED:
                    raise
                _inspect(path, "rw", known)

    def close(self) -> None:
        """Ends the use of the file. Closing twice does no harm."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A block whose queries all see one state.

        Raises:
            StorageError: When the file cannot be read; :class:`CatalogUnusable` when it is damaged.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A block that is done as a whole, or not at all. Blocks come one after another.

        Once it has ended without an error, it lasts.

        Raises:
            DiskFull: When no space is left; nothing was done.
            StorageError: When it could not be written; nothing was done.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            self._written += 1
            yield connection

    def version(self) -> tuple[int, int]:
        """Stays the same as long as nobody writes, this process or another one.

        Raises:
            StorageError: When the file cannot be read.
        """
        with self._turn, self._explained():
            # SQLite counts what other connections write.
            return self._written, _number(self._connection, "PRAGMA data_version")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._turn, self._explained():
            connection = self._connection
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # some errors have rolled it back already
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            ours = self._as_ours(error)
            if ours is None:
                raise
            raise ours from error

    def _as_ours(self, error: sqlite3.Error) -> StorageError | None:
        """None for an error that no state of the disk explains."""
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        if code in _DAMAGE:
            return CatalogUnusable(f"{self._path} is damaged, or no catalog: {error}")
        if code == sqlite3.SQLITE_FULL or (code in _IO and self._has_no_room()):
            return DiskFull(f"no space is left for {self._path}")
        if code in _IO or code == sqlite3.SQLITE_READONLY:
            return StorageError(f"{self._path} cannot be read or written: {error}")
        if code == sqlite3.SQLITE_BUSY:
            return StorageError(f"{self._path} is held by another process")
        return None

    def _has_no_room(self) -> bool:
        try:
            return self._path is not None and disk_usage(self._path.parent).free < NO_ROOM
        except OSError:
            return False


def _inspect(path: Path, mode: str, known: int) -> None:
    place = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    with closing(connection):
        connection.execute("BEGIN")  # one state for all questions: another process may be making it
        version = _number(connection, "PRAGMA user_version")
        owner = _number(connection, "PRAGMA application_id")
        tables = _number(connection, "SELECT count(*) FROM sqlite_master")
        if tables and owner != APPLICATION_ID:
            raise CatalogUnusable(f"{path} is a database of another program")
        if version > known:
            raise CatalogUnusable(
                f"{path} has schema {version}, and this version of DCF knows schemas up to "
                f"{known}: a newer version wrote it"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise CatalogUnusable(f"{path} is damaged: {found}")


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)


def _prepare(path: Path) -> None:
    """Makes the file, private, and its name lasting; SQLite's side files take over its mode."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = open_private(path, os.O_EXCL)
        except FileExistsError:
            return
        os.close(descriptor)
        sync_folder(path.parent)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Has the file written by way of a log (sqlite.org/wal.html).

    Of two processes that make one file at once, SQLite refuses one where each could wait for the
    other, whatever the timeout says (sqlite.org/c3ref/busy_handler.html). So it is tried again.
    """
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= until:
                raise
            time.sleep(BUSY_PAUSE)
        else:
            return
