"""What the catalog knows, as long as nobody changes it."""

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
    """The reading half of :class:`dcf.catalog.catalog.Catalog`.

    Args:
        database: What is read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: dict[str, tuple[tuple[int, int], list[Any]]] = {}
        self._reading = Isolation("reading the record")

    def function(self, name: str) -> FunctionRecord:
        """One function.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        with self._database.reading() as connection:
            return required_record(connection, name)

    def functions(self) -> list[FunctionRecord]:
        """Every function whose record can be read, by name."""
        with self._database.reading() as connection:
            return self._readable(connection.execute(f"{RECORDS} ORDER BY f.name"), as_record)

    def scalable(self) -> list[FunctionRecord]:
        """Every function whose number of replicas may change by itself, by name."""
        query = f"{RECORDS} WHERE f.minimum < f.maximum ORDER BY f.name"
        return self._unless_read(query, as_record)

    def wanted(self) -> list[Wanted]:
        """Return the desired state of every function, for :func:`dcf.reconciler.reconcile.turn`.

        Functions whose record cannot be read are left out: compare :meth:`names`.
        """
        query = "SELECT name, current, replicas, canary, share FROM functions ORDER BY name"
        return self._unless_read(query, as_wanted)

    def names(self) -> frozenset[str]:
        """Return the names of all functions, readable or not."""
        return frozenset(self._unless_read("SELECT name FROM functions", itemgetter(0)))

    def _unless_read(self, query: str, make: Callable[[Any], T]) -> list[T]:
        """What a query finds, read anew only when somebody has written since the last time."""
        version = self._database.version()
        before, found = self._read.get(query, (None, []))
        if version != before:
            with self._database.reading() as connection:
                found = self._readable(connection.execute(query), make)
            self._read[query] = version, found
        return list(found)

    def _readable(self, rows: Iterable[Any], make: Callable[[Any], T]) -> list[T]:
        """Return the records in the rows. A row that cannot be read is logged and left out."""
        found = []
        for row in rows:
            with self._reading.of(row[0]):
                found.append(make(row))
        return found

    def revision(self, name: str, number: int) -> Revision:
        """One revision.

        Raises:
            FunctionNotFound: When there is no such function or revision.
        """
        with self._database.reading() as connection:
            return required_revision(connection, name, number)

    def revisions(self, name: str) -> list[Revision]:
        """A function's revisions, newest first.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        query = f"{REVISIONS} WHERE r.function = ? ORDER BY r.number DESC"
        with self._database.reading() as connection:
            required_record(connection, name)
            return [as_revision(row) for row in connection.execute(query, (name,))]

    def last_of(self, artifact: str, name: str) -> Revision | None:
        """The newest revision with an artifact, of a certain function if that has one.

        Args:
            artifact: The artifact's digest.
            name: The function whose own revisions come first.

        Returns:
            None when no revision has it.
        """
        query = f"{REVISIONS} WHERE r.artifact = ? ORDER BY r.function = ? DESC, r.created DESC"
        with self._database.reading() as connection:
            row = connection.execute(f"{query}, r.number DESC", (artifact, name)).fetchone()
        return None if row is None else as_revision(row)

    def artifacts(self, newest: int) -> set[Artifact]:
        """What the store must keep.

        Args:
            newest: Of each function, how many of its newest count beside those that serve.
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
            for _, of_one in groupby(rows, key=itemgetter(0))
            for rank, (_, serves, bundle, lock) in enumerate(of_one)
            if serves or rank < newest
        }
