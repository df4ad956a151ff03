"""Keys of callers from beyond this machine."""

from __future__ import annotations

from collections.abc import Callable

from dcf.catalog.database import Database
from dcf.errors import NameTaken
from dcf.model.access import ApiKey

_FIELDS = "name, digest, kid, created, revoked"


class ApiKeys:
    """What is kept of the keys.

    Args:
        database: Where it is kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def add(self, name: str, digest: str, kid: str) -> ApiKey:
        """Keeps a new key.

        Args:
            name: What it is called; free again once a key of that name is revoked.
            digest: Of the key, which itself is never kept.
            kid: What it calls itself.

        Raises:
            NameTaken: When a key of that name, or this key, is known.
            StorageError: When it could not be written.
        """
        with self._database.writing() as connection:
            query = "SELECT 1 FROM keys WHERE (name = ? AND revoked IS NULL) OR digest = ?"
            if connection.execute(query, (name, digest)).fetchone():
                raise NameTaken(f"there is a key {name!r} already")
            key = ApiKey(name, digest, kid, self._clock())
            values = (key.name, key.digest, key.kid, key.created)
            insert = "INSERT INTO keys (name, digest, kid, created) VALUES (?, ?, ?, ?)"
            connection.execute(insert, values)
        return key

    def revoke(self, name: str) -> bool:
        """Takes a key out of force for good; tells whether there was one in force.

        Raises:
            StorageError: When it could not be written.
        """
        with self._database.writing() as connection:
            query = "UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL"
            return connection.execute(query, (self._clock(), name)).rowcount > 0

    def in_force(self, digest: str) -> ApiKey | None:
        """The key with this digest; None when there is none, or it is revoked.

        Raises:
            StorageError: When it could not be read.
        """
        query = f"SELECT {_FIELDS} FROM keys WHERE digest = ? AND revoked IS NULL"  # noqa: S608  ours
        with self._database.reading() as connection:
            row = connection.execute(query, (digest,)).fetchone()
        return ApiKey(*row) if row else None

    def all(self) -> list[ApiKey]:
        """Every key, the revoked ones included, oldest first.

        Raises:
            StorageError: When they could not be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_FIELDS} FROM keys ORDER BY id").fetchall()  # noqa: S608  ours
        return [ApiKey(*row) for row in rows]
