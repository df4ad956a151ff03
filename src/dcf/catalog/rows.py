"""Convert rows of the catalog to values of the model, and back.

The functions run within a transaction of their caller.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dcf.errors import CatalogUnusable, FunctionNotFound, RolloutInvalid, SpecInvalid
from dcf.model.artifact import Artifact, canonical_json
from dcf.model.desired import CanaryWanted, Wanted
from dcf.model.function import FunctionSpec
from dcf.model.revision import Canary, FunctionRecord, Revision, spec_of_revision
from dcf.model.scaling import Scaling
from dcf.model.spec_json import spec_from_own_json, spec_to_json
from dcf.model.suggest import nearest

RECORDS = """
    SELECT f.name, f."desc", f.maintainer, f.labels, f.annotations, f.minimum, f.maximum,
        f.replicas, f.target, f.idle, f.auto_minimum, f.auto_maximum,
        f.invocations, f.created, f.updated,
        r.number, a.bundle, a.lock, r.spec, r.created,
        f.share, c.number, ca.bundle, ca.lock, c.spec, c.created
    FROM functions f
    JOIN revisions r ON r.function = f.name AND r.number = f.current
    JOIN artifacts a ON a.digest = r.artifact
    LEFT JOIN revisions c ON c.function = f.name AND c.number = f.canary
    LEFT JOIN artifacts ca ON ca.digest = c.artifact
"""

REVISIONS = """
    SELECT r.function, r.number, a.bundle, a.lock, r.spec, r.created
    FROM revisions r JOIN artifacts a ON a.digest = r.artifact
"""

Row = tuple[Any, ...]
"""A row of a query below. The schema defines the types of its columns."""


def text_of(revision: Revision) -> str:
    """Return the canonical text of a revision's spec, for comparisons."""
    return spec_to_json(revision.spec).decode("ascii")


def add_revision(
    connection: sqlite3.Connection, spec: FunctionSpec, text: str, artifact: Artifact, now: float
) -> Revision:
    """Insert a new revision. Its number was never used before for this function."""
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


_SCALING = ("minimum", "maximum", "replicas", "target", "idle", "auto_minimum", "auto_maximum")

_TEXTS = ('"desc"', "maintainer", "labels", "annotations")
_CHANGING = (*_TEXTS, *_SCALING, "current", "canary", "share", "updated")
_COLUMNS = ("name", *_CHANGING, "invocations", "created")


def scaling_row(scaling: Scaling) -> Row:
    """Return the values of a function's scaling columns, in the order of ``_SCALING``."""
    return (
        scaling.minimum,
        scaling.maximum,
        scaling.replicas,
        scaling.target,
        scaling.idle,
        *(scaling.automatic or (None, None)),
    )


def put_scaling(connection: sqlite3.Connection, name: str, scaling: Scaling) -> None:
    """Update the scaling of a function."""
    changes = ", ".join(f"{column} = ?" for column in _SCALING)
    connection.execute(
        f"UPDATE functions SET {changes} WHERE name = ?",  # noqa: S608  the names are ours
        (*scaling_row(scaling), name),
    )


def put_record(connection: sqlite3.Connection, record: FunctionRecord, now: float) -> None:
    """Insert or update a function, except its count of calls. It is marked as updated ``now``."""
    changes = ", ".join(f"{column} = excluded.{column}" for column in _CHANGING)
    connection.execute(
        f"""INSERT INTO functions ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
        ON CONFLICT (name) DO UPDATE SET {changes}
        """,  # noqa: S608  the names are ours
        (
            record.name,
            record.desc,
            record.maintainer,
            canonical_json(record.labels).decode("ascii"),
            canonical_json(record.annotations).decode("ascii"),
            *scaling_row(record.scaling),
            record.current.number,
            record.canary.revision.number if record.canary else None,
            record.canary.share if record.canary else 0,
            now,
            record.invocations,
            record.created,
        ),
    )


def forget_revisions(connection: sqlite3.Connection, record: FunctionRecord, kept: int) -> None:
    """Delete all revisions of a function except the newest ones and those that serve."""
    serving = (record.current.number, record.canary.revision.number if record.canary else None)
    connection.execute(
        """DELETE FROM revisions WHERE function = ? AND number IS NOT ? AND number IS NOT ?
        AND number NOT IN (
            SELECT number FROM revisions WHERE function = ? ORDER BY number DESC LIMIT ?
        )""",
        (record.name, *serving, record.name, kept),
    )
    drop_artifacts(connection)


def drop_artifacts(connection: sqlite3.Connection) -> None:
    """Delete the artifacts that no revision uses."""
    connection.execute("DELETE FROM artifacts WHERE digest NOT IN (SELECT artifact FROM revisions)")


def find_record(connection: sqlite3.Connection, name: str) -> FunctionRecord | None:
    """Return the record of a function; None if it is not deployed."""
    row = connection.execute(f"{RECORDS} WHERE f.name = ?", (name,)).fetchone()
    return None if row is None else as_record(row)


def required_record(connection: sqlite3.Connection, name: str) -> FunctionRecord:
    """Return the record of a function.

    Raises:
        FunctionNotFound: If it is not deployed. The error suggests similar names.
    """
    record = find_record(connection, name)
    if record is None:
        names = [known for (known,) in connection.execute("SELECT name FROM functions")]
        raise FunctionNotFound(f"no function {name!r} is deployed", nearest(name, names))
    return record


def required_revision(connection: sqlite3.Connection, name: str, number: int) -> Revision:
    """Return a revision.

    Raises:
        FunctionNotFound: If the function or the revision does not exist. The message lists the
            existing revisions.
    """
    query = f"{REVISIONS} WHERE r.function = ? AND r.number = ?"
    row = connection.execute(query, (name, number)).fetchone()
    if row is not None:
        return as_revision(row)
    required_record(connection, name)
    query = "SELECT number FROM revisions WHERE function = ? ORDER BY number"
    numbers = ", ".join(str(known) for (known,) in connection.execute(query, (name,)))
    raise FunctionNotFound(f"{name} has no revision {number}; it has {numbers}")


def required_canary(connection: sqlite3.Connection, name: str) -> tuple[FunctionRecord, Canary]:
    """Return the record of a function, and its canary.

    Raises:
        FunctionNotFound: If the function does not exist.
        RolloutInvalid: If it has no canary.
    """
    record = required_record(connection, name)
    if record.canary is None:
        raise RolloutInvalid(
            f"{name} has no canary: revision {record.current.number} serves all calls"
        )
    return record, record.canary


def standing(record: FunctionRecord | None, *, is_canary: bool) -> Revision | None:
    """Return the revision that a deploy replaces; None if it replaces none."""
    if record is None:
        return None
    if is_canary:
        return record.canary.revision if record.canary else None
    return record.current


def check_canary(record: FunctionRecord | None, name: str, wanted: tuple[Artifact, str]) -> None:
    """Check that a canary differs from the current revision.

    Raises:
        RolloutInvalid: If there is no current revision, or it is identical.
    """
    if record is None:
        raise RolloutInvalid(
            f"{name} is not deployed yet: a canary needs a current revision; deploy without"
            " --canary first"
        )
    if (record.current.artifact, text_of(record.current)) == wanted:
        number = record.current.number
        raise RolloutInvalid(
            f"the canary is identical to revision {number} of {name}, which already serves"
        )


def wanted_of(record: FunctionRecord) -> Wanted:
    """Return the desired state of a function."""
    canary = None
    if record.canary is not None:
        canary = CanaryWanted(record.canary.revision.number, record.canary.share)
    return Wanted(record.name, record.current.number, record.scaling.replicas, canary=canary)


def as_wanted(row: Row) -> Wanted:
    """Read a row of name, current revision, replicas, canary and share.

    Raises:
        CatalogUnusable: If it cannot be read. The functions below raise the same.
    """
    name, current, replicas, canary, share = row
    with _readable(name):
        numbers = (current, replicas, 0 if canary is None else canary)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError(f"expected numbers of revisions and replicas, got {numbers!r:.80}")
        wanted = None if canary is None else CanaryWanted(canary, float(share))
        return Wanted(name, current, replicas, canary=wanted)


def as_record(row: Row) -> FunctionRecord:
    """Read a row of :data:`RECORDS`."""
    (name, desc, maintainer, labels, annotations) = row[:5]
    (minimum, maximum, replicas, target, idle, low, high) = row[5:12]
    (invocations, created, updated) = row[12:15]
    (share, *canary) = row[20:26]
    automatic = None if low is None else (low, high)
    with _readable(name):
        return FunctionRecord(
            name=name,
            desc=desc,
            maintainer=maintainer,
            labels=dict(json.loads(labels)),
            annotations=dict(json.loads(annotations)),
            scaling=Scaling(minimum, maximum, replicas, target, idle, automatic),
            current=as_revision((name, *row[15:20])),
            invocations=invocations,
            created=created,
            updated=updated,
            canary=None if canary[0] is None else Canary(as_revision((name, *canary)), share),
        )


def as_revision(row: Row) -> Revision:
    """Read a row of :data:`REVISIONS`."""
    function, number, bundle, lock, spec, created = row
    with _readable(function):
        artifact = Artifact(bundle, lock)
        return Revision(function, number, artifact, spec_from_own_json(spec), created)


@contextmanager
def _readable(function: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, AttributeError, RecursionError, SpecInvalid) as error:
        raise CatalogUnusable(f"the record of {function} cannot be read: {error}") from error
