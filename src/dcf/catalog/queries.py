"""The catalog's queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from dcf.catalog.database import Database
from dcf.catalog.isolation import Isolation
from dcf.catalog.rows import (
    RECORDS,
    REVISIONS,
    as_record,
    as_revision,
    as_wanted,
    required_record,
    required_revision,
)
from dcf.model.artifact import Artifact
from dcf.model.desired import Wanted
from dcf.model.revision import FunctionRecord, Revision

T = TypeVar("T")


class Queries:
    """The methods of :class:`dcf.catalog.catalog.Catalog` that only read.

    Args:
        database: The catalog's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[str, tuple[tuple[int, int], list[Any]]] = {}
        self._reading = Isolation("reading the record")

    def function(self, name: str) -> FunctionRecord:
        """Return the record of a function.

        Raises:
            FunctionNotFound: If it does not exist. The error suggests similar names.
        """
        with self._database.reading() as connection:
            return required_record(connection, name)

    def functions(self) -> list[FunctionRecord]:
        """Return all functions whose record is readable, sorted by name."""
        with self._database.reading() as connection:
            return self._readable(connection.execute(f"{RECORDS} ORDER BY f.name"), as_record)

    def scalable(self) -> list[FunctionRecord]:
        """Return all functions that are scaled automatically, sorted by name."""
        query = f"{RECORDS} WHERE f.minimum < f.maximum ORDER BY f.name"
        return self._cached(query, as_record)

    def wanted(self) -> list[Wanted]:
        """Return the desired state of every function, for ``reconcile``.

        Functions whose record cannot be read are left out: compare :meth:`names`.
        """
        query = "SELECT name, current, replicas, canary, share FROM functions ORDER BY name"
        return self._cached(query, as_wanted)

    def names(self) -> frozenset[str]:
        """Return the names of all functions, readable or not."""
        return frozenset(self._cached("SELECT name FROM functions", itemgetter(0)))

    def _cached(self, query: str, make: Callable[[Any], T]) -> list[T]:
        """Return the result of a query, from memory unless the database has changed since."""
        version = self._database.version()
        before, values = self._cache.get(query, (None, []))
        if version != before:
            with self._database.reading() as connection:
                values = self._readable(connection.execute(query), make)
            self._cache[query] = version, values
        return list(values)

    def _readable(self, rows: Iterable[Any], make: Callable[[Any], T]) -> list[T]:
        """Return the records in the rows. A row that cannot be read is logged and left out."""
        records = []
        for row in rows:
            with self._reading.of(row[0]):
                records.append(make(row))
        return records

    def revision(self, name: str, number: int) -> Revision:
        """Return a revision.

        Raises:
            FunctionNotFound: If the function or the revision does not exist.
        """
        with self._database.reading() as connection:
            return required_revision(connection, name, number)

    def revisions(self, name: str) -> list[Revision]:
        """Return the revisions of a function, newest first.

        Raises:
            FunctionNotFound: If the function does not exist.
        """
        query = f"{REVISIONS} WHERE r.function = ? ORDER BY r.number DESC"
        with self._database.reading() as connection:
            required_record(connection, name)
            return [as_revision(row) for row in connection.execute(query, (name,))]

    def last_of(self, artifact: str, name: str) -> Revision | None:
        """Return the newest revision with an artifact; revisions of ``name`` have precedence.

        Args:
            artifact: The artifact's digest.
            name: The preferred function.

        Returns:
            None if no revision has the artifact.
        """
        query = f"{REVISIONS} WHERE r.artifact = ? ORDER BY r.function = ? DESC, r.created DESC"
        with self._database.reading() as connection:
            row = connection.execute(f"{query}, r.number DESC", (artifact, name)).fetchone()
        return None if row is None else as_revision(row)

    def artifacts(self, newest: int) -> set[Artifact]:
        """Return the artifacts that the store must keep.

        Args:
            newest: Number of newest revisions of each function to include, beside those that serve.
        """
        query = """
            SELECT r.function, r.number IN (f.current, f.canary), a.bundle, a.lock
            FROM functions f
            JOIN revisions r ON r.function = f.name
            JOIN artifacts a ON a.digest = r.artifact
            ORDER BY r.function, r.number DESC
        """
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        return {
            Artifact(bundle, lock)
            for _, revisions in groupby(rows, key=itemgetter(0))
            for rank, (_, serves, bundle, lock) in enumerate(revisions)
            if serves or rank < newest
        }
