"""API keys, for callers on other machines."""

from __future__ import annotations

from collections.abc import Callable

from dcf.catalog.database import Database
from dcf.errors import NameTaken
from dcf.model.access import ApiKey

_FIELDS = "name, digest, kid, created, revoked"


class ApiKeys:
    """Stores digests and names of API keys, never the keys themselves.

    Args:
        database: The catalog's database.
        clock: Seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def add(self, name: str, digest: str, kid: str) -> ApiKey:
        """Store a new key.

        Args:
            name: The key's name. The name of a revoked key can be used again.
            digest: Digest of the key.
            kid: The key id that the key contains.

        Raises:
            NameTaken: If an active key has this name, or the key is stored already.
            StorageError: If it cannot be written.
        """
        with self._database.writing() as connection:
            query = "SELECT 1 FROM keys WHERE (name = ? AND revoked IS NULL) OR digest = ?"
            if connection.execute(query, (name, digest)).fetchone():
                raise NameTaken(f"a key {name!r} already exists")
            key = ApiKey(name, digest, kid, self._clock())
            values = (key.name, key.digest, key.kid, key.created)
            insert = "INSERT INTO keys (name, digest, kid, created) VALUES (?, ?, ?, ?)"
            connection.execute(insert, values)
        return key

    def revoke(self, name: str) -> bool:
        """Revoke a key permanently; return whether there was an active key of this name.

        Raises:
            StorageError: If it cannot be written.
        """
        with self._database.writing() as connection:
            query = "UPDATE keys SET revoked = ? WHERE name = ? AND revoked IS NULL"
            return connection.execute(query, (self._clock(), name)).rowcount > 0

    def in_force(self, digest: str) -> ApiKey | None:
        """Return the active key with this digest; None if there is none, or it is revoked.

        Raises:
            StorageError: If it cannot be read.
        """
        query = f"SELECT {_FIELDS} FROM keys WHERE digest = ? AND revoked IS NULL"  # noqa: S608  ours
        with self._database.reading() as connection:
            row = connection.execute(query, (digest,)).fetchone()
        return ApiKey(*row) if row else None

    def all(self) -> list[ApiKey]:
        """Return all keys, including revoked ones, oldest first.

        Raises:
            StorageError: If they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_FIELDS} FROM keys ORDER BY id").fetchall()  # noqa: S608  ours
        return [ApiKey(*row) for row in rows]
