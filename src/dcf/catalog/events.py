"""The events of functions, limited in number."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from dcf.catalog.database import Database
from dcf.model.event import Event, EventKind
from dcf.model.revision import Revision

KEPT = 50
"""Number of events of each kind that are kept for a function. By kind, so that the events of a
crash loop do not displace those of deploys."""

TEXT_LIMIT = 16_000
"""Maximum characters of a detail or a traceback. A traceback keeps its end, which names the
exception."""

_FIELDS = "function, kind, at, revision, key, replica, detail, error, traceback"


class EventLog:
    """Stores and reads events.

    Args:
        database: The catalog's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, event: Event) -> bool:
        """Store an event, unless it is stored already or its function is no longer deployed.

        Returns:
            Whether it was stored.

        Raises:
            StorageError: If it cannot be written.
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
        """Store an event of a function within the transaction that changes the function."""
        row = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM events").fetchone()
        key = f"{kind}-{row[0]}"
        _insert(connection, Event(revision.function, kind, at, revision.number, key, detail=detail))

    def events(self, function: str, limit: int = KEPT) -> list[Event]:
        """Return the events of a function, newest first.

        Args:
            function: The function's name. A function that is not deployed has no events.
            limit: Maximum number of events.

        Raises:
            StorageError: If they cannot be read.
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
    """Escape lone surrogates: a traceback may quote any text that the author's code received."""
    return text.encode("utf-8", "backslashreplace").decode()
