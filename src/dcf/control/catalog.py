"""The catalog: what is deployed, and what must be known of it after everything was killed.

Whatever a method has returned from lasts. Methods may be called from any thread; those that write
wait for the disk (milliseconds), so an event loop calls them in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

from dcf.control.database import Database
from dcf.control.journal import Journal
from dcf.control.keys import Keys
from dcf.control.rows import (
    RECORDS,
    REVISIONS,
    add_revision,
    as_record,
    as_revision,
    find_record,
    put_record,
    required_record,
    text_of,
)
from dcf.control.view import Wanted
from dcf.errors import FunctionNotFound
from dcf.model.artifact import Artifact
from dcf.model.event import EventKind
from dcf.model.function import FunctionSpec
from dcf.model.names import check_name
from dcf.model.revision import FunctionRecord, Revision, spec_of_revision
from dcf.model.scaling import Scaling
from dcf.model.spec_json import spec_to_json


class Catalog:
    """The catalog in one file.

    Args:
        path: The file, made when it is not there; None keeps all in memory: the fake, for tests.
        clock: Seconds since the epoch.

    Attributes:
        journal: The functions' events.
        keys: The keys of callers from beyond this machine.

    Raises:
        CatalogUnusable: When the file is damaged, no catalog, or from a newer version; nothing in
            it is changed.
        DiskFull: When no space is left. So does every method that writes.
        StorageError: When the file cannot be read or written. So does every method.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path)
        self._clock = clock
        self.journal = Journal(self._database)
        self.keys = Keys(self._database, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the use of the file."""
        self._database.close()

    # What changes it

    def deploy(
        self,
        spec: FunctionSpec,
        artifact: Artifact,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Revision:
        """Makes ``artifact`` with ``spec`` what the function is to serve.

        Where they are what it is to serve already, that revision is returned and no new one made.
        Description, maintainer and labels are taken over in either case.

        Args:
            spec: How it runs; its name says which function.
            artifact: What runs.
            minimum: Fewest replicas; None keeps what is known, 1 for a new function.
            maximum: Most replicas; None keeps what is known, 1 for a new function.
            annotations: Replace those known; None keeps them.

        Raises:
            InvalidName: When the name breaks the naming rule.
            SpecInvalid: When the bounds do not fit.
        """
        check_name(spec.name)
        text = spec_to_json(spec_of_revision(spec)).decode("ascii")
        with self._database.writing() as connection:
            before = find_record(connection, spec.name)
            now = self._clock()
            if before and (before.current.artifact, text_of(before.current)) == (artifact, text):
                revision, is_new = before.current, False
            else:
                revision, is_new = add_revision(connection, spec, text, artifact, now), True
            scaling = (before.scaling if before else Scaling()).within(minimum, maximum)
            if annotations is None:
                annotations = before.annotations if before else {}
            after = FunctionRecord(
                name=spec.name,
                desc=spec.desc,
                maintainer=spec.maintainer,
                labels=dict(spec.labels),
                annotations=dict(annotations),
                scaling=scaling,
                current=revision,
                invocations=before.invocations if before else 0,
                created=before.created if before else now,
                updated=before.updated if before else now,
            )
            if after != before:
                put_record(connection, after, now)
            if is_new:
                detail = f"revision {revision.number}, artifact {artifact.digest}"
                self.journal.note(connection, EventKind.DEPLOYED, revision, now, detail)
        return revision

    def delete(self, name: str) -> None:
        """Forgets a function with its revisions and events; its revisions' numbers stay used.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        with self._database.writing() as connection:
            required_record(connection, name)
            connection.execute("DELETE FROM functions WHERE name = ?", (name,))
            connection.execute(
                "DELETE FROM artifacts WHERE digest NOT IN (SELECT artifact FROM revisions)"
            )

    def scale(self, name: str, replicas: int) -> Scaling:
        """Asks for a number of replicas by hand; a bound in its way moves.

        Raises:
            FunctionNotFound: With the nearest names.
            SpecInvalid: When the number is negative or too large.
        """
        return self._rescale(name, lambda scaling: scaling.scaled(replicas))

    def bound(self, name: str, minimum: int | None, maximum: int | None) -> Scaling:
        """Sets the bounds of the number of replicas; None keeps one.

        Raises:
            FunctionNotFound: With the nearest names.
            SpecInvalid: When they do not fit.
        """
        return self._rescale(name, lambda scaling: scaling.within(minimum, maximum))

    def _rescale(self, name: str, change: Callable[[Scaling], Scaling]) -> Scaling:
        with self._database.writing() as connection:
            before = required_record(connection, name)
            scaling = change(before.scaling)
            if scaling != before.scaling:
                now = self._clock()
                connection.execute(
                    "UPDATE functions SET minimum = ?, maximum = ?, replicas = ?, updated = ?"
                    " WHERE name = ?",
                    (scaling.minimum, scaling.maximum, scaling.replicas, now, name),
                )
                detail = f"{scaling.replicas} ({scaling.minimum} to {scaling.maximum})"
                self.journal.note(connection, EventKind.SCALED, before.current, now, detail)
        return scaling

    def count_invocations(self, more: Mapping[str, int]) -> None:
        """Adds to the functions' counts; names that are not deployed are passed over."""
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE functions SET invocations = invocations + ? WHERE name = ?",
                [(count, name) for name, count in more.items()],
            )

    # What is known

    def function(self, name: str) -> FunctionRecord:
        """One function.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        with self._database.reading() as connection:
            return required_record(connection, name)

    def functions(self) -> list[FunctionRecord]:
        """Every function, by name."""
        with self._database.reading() as connection:
            return [as_record(row) for row in connection.execute(f"{RECORDS} ORDER BY f.name")]

    def wanted(self) -> list[Wanted]:
        """What every function is to be, for :func:`dcf.control.reconcile.turn`."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, current, replicas FROM functions ORDER BY name")
            return [Wanted(*row) for row in rows]

    def revision(self, name: str, number: int) -> Revision:
        """One revision.

        Raises:
            FunctionNotFound: When there is no such function or revision.
        """
        query = f"{REVISIONS} WHERE r.function = ? AND r.number = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (name, number)).fetchone()
            if row is None:
                required_record(connection, name)
                raise FunctionNotFound(f"{name} has no revision {number}")
            return as_revision(row)

    def revisions(self, name: str) -> list[Revision]:
        """A function's revisions, newest first.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        query = f"{REVISIONS} WHERE r.function = ? ORDER BY r.number DESC"
        with self._database.reading() as connection:
            required_record(connection, name)
            return [as_revision(row) for row in connection.execute(query, (name,))]

    def artifacts(self, newest: int) -> set[Artifact]:
        """What the store must keep.

        Args:
            newest: Of each function, how many of its newest revisions count beside the current one.
        """
        query = """
            SELECT r.function, r.number = f.current, a.bundle, a.lock
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
            for rank, (_, is_current, bundle, lock) in enumerate(of_one)
            if is_current or rank < newest
        }
