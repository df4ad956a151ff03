"""The functions' events, bounded."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from dcf.catalog.database import Database
from dcf.model.event import Event, EventKind
from dcf.model.revision import Revision

KEPT = 50
"""Events of one kind that a function keeps. By kind, so that a crash loop drives no deploy out."""

TEXT_LIMIT = 16_000
"""Characters of a detail or a traceback. A traceback's end says what was raised, so its beginning
goes first."""

_FIELDS = "function, kind, at, revision, key, replica, detail, error, traceback"


class EventLog:
    """What happened to the functions.

    Args:
        database: Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, event: Event) -> bool:
        """Keeps an event, unless it is known already or its function is not deployed any more.

        Returns:
            Whether it was new.

        Raises:
            StorageError: When it could not be written.
        """
        with self._database.writing() as connection:
            known = "SELECT 1 FROM functions WHERE name = ?"
            if connection.execute(known, (event.function,)).fetchone() is None:
                return False
            return _insert(connection, event)

    def note(
        self,
        connection: sqlite3.Connection,
        kind: EventKind,
        revision: Revision,
        at: float,
        detail: str,
    ) -> None:
        """Keeps an event of a whole function, as a part of the transaction that it is about."""
        row = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()
        key = f"{kind}-{row[0]}"
        _insert(connection, Event(revision.function, kind, at, revision.number, key, detail=detail))

    def events(self, function: str, limit: int = KEPT) -> list[Event]:
        """A function's events, newest first.

        Args:
            function: Its name; one that is not deployed has no events.
            limit: At most this many.

        Raises:
            StorageError: When they could not be read.
        """
        query = f"SELECT {_FIELDS} FROM events WHERE function = ? ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608  _FIELDS is ours
        with self._database.reading() as connection:
            rows = connection.execute(query, (function, limit)).fetchall()
        return [Event(function, EventKind(kind), *rest) for function, kind, *rest in rows]


def _insert(connection: sqlite3.Connection, event: Event) -> bool:
    event = replace(
        event, detail=event.detail[:TEXT_LIMIT], traceback=event.traceback[-TEXT_LIMIT:]
    )
    cursor = connection.execute(
        f"INSERT OR IGNORE INTO events ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            event.function,
            event.kind,
            event.at,
            event.revision,
            event.key,
            event.replica,
            _storable(event.detail),
            event.error,
            _storable(event.traceback),
        ),
    )
    connection.execute(
        """DELETE FROM events WHERE id IN (
            SELECT id FROM events WHERE function = ? AND kind = ?
            ORDER BY id DESC LIMIT -1 OFFSET ?
        )""",
        (event.function, event.kind, KEPT),
    )
    return cursor.rowcount > 0


def _storable(text: str) -> str:
    """A traceback quotes what the author's code was given, half surrogates included."""
    return text.encode("utf-8", "backslashreplace").decode()
