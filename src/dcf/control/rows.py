"""The catalog's rows as the model's values, and back.

Here: the queries that several methods of the catalog share. Not here: transactions.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from dcf.control.near import nearest
from dcf.errors import FunctionNotFound
from dcf.model.artifact import Artifact, canonical_json
from dcf.model.function import FunctionSpec
from dcf.model.revision import FunctionRecord, Revision, spec_of_revision
from dcf.model.scaling import Scaling
from dcf.model.spec_json import spec_from_own_json, spec_to_json

RECORDS = """
    SELECT f.name, f."desc", f.maintainer, f.labels, f.annotations, f.minimum, f.maximum,
        f.replicas, f.invocations, f.created, f.updated,
        r.number, a.bundle, a.lock, r.spec, r.created
    FROM functions f
    JOIN revisions r ON r.function = f.name AND r.number = f.current
    JOIN artifacts a ON a.digest = r.artifact
"""

REVISIONS = """
    SELECT r.function, r.number, a.bundle, a.lock, r.spec, r.created
    FROM revisions r JOIN artifacts a ON a.digest = r.artifact
"""

Row = tuple[Any, ...]
"""One row of a query below; its columns' types stand in the schema."""


def text_of(revision: Revision) -> str:
    """The spelling of a revision's spec, by which two are compared."""
    return spec_to_json(revision.spec).decode("ascii")


def add_revision(
    connection: sqlite3.Connection, spec: FunctionSpec, text: str, artifact: Artifact, now: float
) -> Revision:
    """Writes a new revision, under a number that was never used for that name."""
    connection.execute("INSERT OR IGNORE INTO numbers VALUES (?, 0)", (spec.name,))
    connection.execute("UPDATE numbers SET last = last + 1 WHERE function = ?", (spec.name,))
    query = "SELECT last FROM numbers WHERE function = ?"
    (number,) = connection.execute(query, (spec.name,)).fetchone()
    connection.execute(
        "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?)",
        (artifact.digest, artifact.bundle, artifact.lock, now),
    )
    connection.execute(
        "INSERT INTO revisions VALUES (?, ?, ?, ?, ?)",
        (spec.name, number, artifact.digest, text, now),
    )
    return Revision(spec.name, number, artifact, spec_of_revision(spec), now)


def put_record(connection: sqlite3.Connection, record: FunctionRecord, now: float) -> None:
    """Writes all of a function but its count of invocations, as changed ``now``."""
    connection.execute(
        """INSERT INTO functions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET
            "desc" = excluded."desc", maintainer = excluded.maintainer, labels = excluded.labels,
            annotations = excluded.annotations, minimum = excluded.minimum,
            maximum = excluded.maximum, replicas = excluded.replicas, current = excluded.current,
            updated = excluded.updated""",
        (
            record.name,
            record.desc,
            record.maintainer,
            canonical_json(record.labels).decode("ascii"),
            canonical_json(record.annotations).decode("ascii"),
            record.scaling.minimum,
            record.scaling.maximum,
            record.scaling.replicas,
            record.current.number,
            record.invocations,
            record.created,
            now,
        ),
    )


def find_record(connection: sqlite3.Connection, name: str) -> FunctionRecord | None:
    """A function; None when it is not deployed."""
    row = connection.execute(f"{RECORDS} WHERE f.name = ?", (name,)).fetchone()
    return None if row is None else as_record(row)


def required_record(connection: sqlite3.Connection, name: str) -> FunctionRecord:
    """A function.

    Raises:
        FunctionNotFound: With the nearest names, when it is not deployed.
    """
    record = find_record(connection, name)
    if record is None:
        names = [one for (one,) in connection.execute("SELECT name FROM functions")]
        raise FunctionNotFound(f"no function {name!r} is deployed", nearest(name, names))
    return record


def as_record(row: Row) -> FunctionRecord:
    """A row of :data:`RECORDS`."""
    (name, desc, maintainer, labels, annotations, minimum, maximum, replicas) = row[:8]
    (invocations, created, updated) = row[8:11]
    return FunctionRecord(
        name=name,
        desc=desc,
        maintainer=maintainer,
        labels=json.loads(labels),
        annotations=json.loads(annotations),
        scaling=Scaling(minimum, maximum, replicas),
        current=as_revision((name, *row[11:])),
        invocations=invocations,
        created=created,
        updated=updated,
    )


def as_revision(row: Row) -> Revision:
    """A row of :data:`REVISIONS`."""
    function, number, bundle, lock, spec, created = row
    return Revision(function, number, Artifact(bundle, lock), spec_from_own_json(spec), created)
