"""The catalog's schema, as a list of migrations.

A released migration never changes: a change of the schema is a new migration at the end. There are
no downgrades. The statements work with SQLite 3.34, the oldest version in use with Python 3.11.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x44434663
"""``DCFc``: marks a SQLite file as a catalog (SQLite file format, offset 68)."""

_FIRST = (
    """CREATE TABLE numbers (
        function TEXT PRIMARY KEY,
        last INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE artifacts (
        digest TEXT PRIMARY KEY,
        bundle TEXT NOT NULL,
        lock TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE functions (
        name TEXT PRIMARY KEY,
        "desc" TEXT NOT NULL,
        maintainer TEXT NOT NULL,
        labels TEXT NOT NULL,
        annotations TEXT NOT NULL,
        minimum INTEGER NOT NULL,
        maximum INTEGER NOT NULL,
        replicas INTEGER NOT NULL CHECK (replicas BETWEEN minimum AND maximum),
        current INTEGER NOT NULL,
        invocations INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        FOREIGN KEY (name, current) REFERENCES revisions (function, number)
            DEFERRABLE INITIALLY DEFERRED
    ) WITHOUT ROWID""",
    """CREATE TABLE revisions (
        function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE
            DEFERRABLE INITIALLY DEFERRED,
        number INTEGER NOT NULL,
        artifact TEXT NOT NULL REFERENCES artifacts (digest),
        spec TEXT NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (function, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX revisions_by_artifact ON revisions (artifact)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        at REAL NOT NULL,
        revision INTEGER NOT NULL,
        key TEXT NOT NULL,
        replica TEXT NOT NULL,
        detail TEXT NOT NULL,
        error TEXT NOT NULL,
        traceback TEXT NOT NULL,
        UNIQUE (function, key)
    )""",
    "CREATE INDEX events_by_kind ON events (function, kind)",
    """CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        revoked REAL
    )""",
    "CREATE UNIQUE INDEX keys_in_force ON keys (name) WHERE revoked IS NULL",
    f"PRAGMA application_id={APPLICATION_ID}",
)

_KEY_IDS = ("ALTER TABLE keys ADD COLUMN kid TEXT NOT NULL DEFAULT ''",)

_ROLLOUT = (
    "ALTER TABLE functions ADD COLUMN target REAL",
    "ALTER TABLE functions ADD COLUMN idle REAL NOT NULL DEFAULT 300",
    # The automatic limits, while a number of replicas is set by hand.
    "ALTER TABLE functions ADD COLUMN auto_minimum INTEGER",
    "ALTER TABLE functions ADD COLUMN auto_maximum INTEGER",
    # Number of the canary's revision, and its percentage of the calls.
    "ALTER TABLE functions ADD COLUMN canary INTEGER",
    "ALTER TABLE functions ADD COLUMN share REAL NOT NULL DEFAULT 0",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _KEY_IDS, _ROLLOUT)
"""Migration N, counted from 1, leads from schema N - 1 to schema N. Schema 0 is an empty file."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Run every missing migration, each in its own transaction.

    Raises:
        sqlite3.Error: If a migration fails. The file is then as it was before that migration.
    """
    for number, statements in enumerate(migrations, start=1):
        if _version(connection) >= number:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) < number:  # else another process was faster
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
