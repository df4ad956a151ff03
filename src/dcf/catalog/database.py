"""The catalog's SQLite database.

A committed transaction is on the disk (``synchronous=FULL``). It survives a kill of every process,
and a power failure if the disk honours flushes.
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
"""Seconds to wait for a transaction of another process. A transaction takes a few milliseconds, so
a longer one is stuck."""

BUSY_PAUSE = 0.005
"""Seconds between two attempts where SQLite does not wait by itself."""

NO_ROOM = 256 * 1024
"""Free bytes below which an input/output error counts as a full disk: SQLite reports some writes to
a full disk that way. The index of its write-ahead log grows by 32 KiB at a time."""

SMALLEST = 512
"""Size of the smallest page in bytes. SQLite treats a shorter file as empty, and overwrites it."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNFINISHED = frozenset({sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY})
_IO = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_PRIMARY = 0xFF
"""Mask for the primary code in SQLite's extended error codes."""


class Database:
    """A connection that threads share; a lock lets one use it at a time.

    Args:
        path: The file, created if it is missing; None keeps all data in memory, for tests.
        migrations: The schema; tests pass others than the default.

    Raises:
        CatalogUnusable: If the file is damaged, is not a catalog, or was written by a newer
            version. The file is not changed.
        DiskFull: If no space is left.
        StorageError: If it cannot be opened for another reason.
    """

    def __init__(self, path: Path | None, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._written = 0
        if path is not None:
            _prepare(path)
            self._check(path, len(migrations))
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            with self._translated():
                self._open(migrations)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, migrations: Sequence[Sequence[str]]) -> None:
        connection = self._connection
        _log_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # The variables of a deleted function must not remain in free pages.
        connection.execute("PRAGMA secure_delete=ON")
        migrate(connection, migrations)

    def _check(self, path: Path, known: int) -> None:
        """Check the file, read-only if possible: closing a writable connection may write to it.

        If the process that created the file was killed, an unfinished transaction must be rolled
        back first, which needs write access.
        """
        if 0 < path.stat().st_size < SMALLEST:
            raise CatalogUnusable(f"{path} is damaged or not a catalog: it is too short")
        with self._translated():
            try:
                _inspect(path, "ro", known)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in _UNFINISHED:
                    raise
                _inspect(path, "rw", known)

    def close(self) -> None:
        """Close the file. Closing it twice is allowed."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for queries, which all see the same state.

        Raises:
            StorageError: If the file cannot be read; :class:`CatalogUnusable` if it is damaged.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction for changes. Transactions run one after another.

        If the block raises nothing, the changes are durable at its end.

        Raises:
            DiskFull: If no space is left. Nothing is changed.
            StorageError: If the file cannot be written. Nothing is changed.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            self._written += 1
            yield connection

    def version(self) -> tuple[int, int]:
        """Return a value that changes with every write, of this process or another one.

        Raises:
            StorageError: If the file cannot be read.
        """
        with self._lock, self._translated():
            # data_version counts only the writes of other connections.
            return self._written, _number(self._connection, "PRAGMA data_version")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            connection = self._connection
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # some errors roll back by themselves
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors of SQLite into errors of DCF."""
        try:
            yield
        except sqlite3.Error as error:
            ours = self._as_ours(error)
            if ours is None:
                raise
            raise ours from error

    def _as_ours(self, error: sqlite3.Error) -> StorageError | None:
        """Return the error of DCF; None if the state of the disk does not explain the error."""
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
        if code in _DAMAGE:
            return CatalogUnusable(f"{self._path} is damaged or not a catalog: {error}")
        if code == sqlite3.SQLITE_FULL or (code in _IO and self._has_no_room()):
            return DiskFull(f"{self._path}: no space left on device")
        if code in _IO or code == sqlite3.SQLITE_READONLY:
            return StorageError(f"{self._path} cannot be read or written: {error}")
        if code == sqlite3.SQLITE_BUSY:
            return StorageError(f"{self._path} is locked by another process")
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
        connection.execute("BEGIN")  # all queries see one state: another process may be creating it
        version = _number(connection, "PRAGMA user_version")
        owner = _number(connection, "PRAGMA application_id")
        tables = _number(connection, "SELECT count(*) FROM sqlite_master")
        if tables and owner != APPLICATION_ID:
            raise CatalogUnusable(f"{path} is a database of another program")
        if version > known:
            raise CatalogUnusable(
                f"{path} was written by a newer version of DCF: expected a schema up to {known},"
                f" got {version}; update DCF"
            )
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise CatalogUnusable(f"{path} is damaged: {result}")


def _number(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)


def _prepare(path: Path) -> None:
    """Create the file, private and with a durable name. SQLite's other files get the same mode."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = open_private(path, os.O_EXCL)
        except FileExistsError:
            return
        os.close(descriptor)
        sync_folder(path.parent)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log (sqlite.org/wal.html).

    If two processes create the file at the same time, SQLite reports it as busy to one of them
    regardless of the timeout, to prevent a deadlock (sqlite.org/c3ref/busy_handler.html). So this
    retries.
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
