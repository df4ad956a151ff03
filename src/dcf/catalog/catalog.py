"""The catalog: the durable record of what is deployed.

Every change is durable once the method returns. Methods may be called from any thread. Those that
write wait for the disk (milliseconds), so an event loop must call them in a thread.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from dcf.catalog.api_keys import ApiKeys
from dcf.catalog.database import Database
from dcf.catalog.events import EventLog
from dcf.catalog.queries import Queries
from dcf.catalog.rows import (
    add_revision,
    check_canary,
    drop_artifacts,
    find_record,
    forget_revisions,
    put_record,
    put_scaling,
    required_canary,
    required_record,
    required_revision,
    standing,
    text_of,
)
from dcf.errors import RolloutInvalid, SpecInvalid
from dcf.model.artifact import Artifact
from dcf.model.event import EventKind
from dcf.model.function import FunctionSpec
from dcf.model.names import check_name
from dcf.model.revision import Canary, FunctionRecord, Revision, spec_of_revision
from dcf.model.scaling import NO_SCALING, Scaling, ScalingSpec
from dcf.model.spec_json import spec_to_json

KEPT_REVISIONS = 10
"""Number of revisions of a function that are kept, for a rollback."""

ALL = 100.0
"""All calls, in percent."""


class Catalog(Queries):
    """The catalog in one file.

    Args:
        path: The file, created if it is missing; None keeps all data in memory, for tests.
        clock: Seconds since the epoch.

    Attributes:
        event_log: The events of functions.
        keys: The API keys.

    Raises:
        CatalogUnusable: If the file is damaged, is not a catalog, or was written by a newer
            version. The file is not changed.
        DiskFull: If no space is left. Every method that writes may raise it.
        StorageError: If the file cannot be read or written. Every method may raise it.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Database(path))
        self._clock = clock
        self.event_log = EventLog(self._database)
        self.keys = ApiKeys(self._database, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Changes

    def deploy(
        self,
        spec: FunctionSpec,
        artifact: Artifact,
        *,
        wish: ScalingSpec = NO_SCALING,
        annotations: Mapping[str, str] | None = None,
        canary: float | None = None,
        kept: int = KEPT_REVISIONS,
    ) -> Revision:
        """Make a revision of an artifact and a spec the current one, or a canary.

        If the function already serves exactly this artifact and spec, its revision is returned and
        no new one is made. Description, maintainer, labels and scaling are updated in either case.
        Another canary ends.

        Args:
            spec: The spec, with the function's name.
            artifact: Bundle and lock.
            wish: Scaling that has precedence over the spec's ``scaling``.
            annotations: Replace the existing ones; None keeps them.
            canary: Percentage of the calls for the new revision; None makes it the current one.
            kept: Number of newest revisions to keep.

        Raises:
            InvalidName: If the name breaks the naming rule.
            RolloutInvalid: If there is no other revision to compare a canary with.
            SpecInvalid: If the scaling or the percentage is invalid.
        """
        check_name(spec.name)
        if canary is not None and not 0 < canary < ALL:
            raise SpecInvalid(
                f"canary: expected a percentage above 0 and below 100, got {canary:g}"
            )
        text = spec_to_json(spec_of_revision(spec)).decode("ascii")
        with self._database.writing() as connection:
            before = find_record(connection, spec.name)
            if canary is not None:
                check_canary(before, spec.name, (artifact, text))
            now = self._clock()
            same = standing(before, is_canary=canary is not None)
            if same and (same.artifact, text_of(same)) == (artifact, text):
                revision, is_new = same, False
            else:
                revision, is_new = add_revision(connection, spec, text, artifact, now), True
            scaling = (before.scaling if before else Scaling()).with_spec(wish.over(spec.scaling))
            if is_new and not scaling.by_hand:
                # Start a new revision at once, even if the function is scaled to zero.
                scaling = scaling.autoscaled(max(1, scaling.replicas))
            if annotations is None:
                annotations = before.annotations if before else {}
            after = FunctionRecord(
                name=spec.name,
                desc=spec.desc,
                maintainer=spec.maintainer,
                labels=dict(spec.labels),
                annotations=dict(annotations),
                scaling=scaling,
                current=before.current if before and canary is not None else revision,
                invocations=before.invocations if before else 0,
                created=before.created if before else now,
                updated=before.updated if before else now,
                canary=None if canary is None else Canary(revision, canary),
            )
            if after != before:
                put_record(connection, after, now)
            if is_new:
                forget_revisions(connection, after, kept)
                kind = EventKind.DEPLOYED if canary is None else EventKind.CANARY
                detail = f"revision {revision.number}, artifact {artifact.digest}"
                if canary is not None:
                    detail = f"{detail}, {canary:g} % of the calls"
                self.event_log.note(connection, kind, revision, now, detail)
        return revision

    def rollback(self, name: str, number: int | None = None) -> FunctionRecord:
        """Make an earlier revision the current one again. A canary ends.

        Args:
            name: The function.
            number: Number of the revision; None selects the previous one.

        Raises:
            FunctionNotFound: If the function or the revision does not exist. The message names
                similar functions, or the existing revisions.
            RolloutInvalid: If there is no previous revision.
        """
        with self._database.writing() as connection:
            record = required_record(connection, name)
            if number is None:
                query = "SELECT max(number) FROM revisions WHERE function = ? AND number < ?"
                (number,) = connection.execute(query, (name, record.current.number)).fetchone()
                if number is None:
                    current = record.current.number
                    raise RolloutInvalid(
                        f"{name} has no revision before its current one, {current}"
                    )
            revision = required_revision(connection, name, number)
            detail = f"from revision {record.current.number} to {number}"
            return self._serve(connection, record, revision, EventKind.ROLLED_BACK, detail)

    def promote(self, name: str) -> FunctionRecord:
        """Make the canary the current revision.

        Raises:
            FunctionNotFound: If the function does not exist.
            RolloutInvalid: If it has no canary.
        """
        with self._database.writing() as connection:
            record, canary = required_canary(connection, name)
            detail = f"revision {canary.revision.number} in place of {record.current.number}"
            return self._serve(connection, record, canary.revision, EventKind.PROMOTED, detail)

    def abort(self, name: str) -> FunctionRecord:
        """End the canary, so that the current revision gets all calls again.

        Raises:
            FunctionNotFound: If the function does not exist.
            RolloutInvalid: If it has no canary.
        """
        with self._database.writing() as connection:
            record, canary = required_canary(connection, name)
            detail = f"revision {canary.revision.number}"
            return self._serve(connection, record, record.current, EventKind.ABORTED, detail)

    def _serve(
        self,
        connection: sqlite3.Connection,
        before: FunctionRecord,
        revision: Revision,
        kind: EventKind,
        detail: str,
    ) -> FunctionRecord:
        """Make a revision serve all calls."""
        scaling = before.scaling
        if revision != before.current and not scaling.by_hand:
            scaling = scaling.autoscaled(max(1, scaling.replicas))
        after = replace(before, current=revision, canary=None, scaling=scaling)
        if after == before:
            return before
        now = self._clock()
        after = replace(after, updated=now)
        put_record(connection, after, now)
        self.event_log.note(connection, kind, revision, now, detail)
        return after

    def delete(self, name: str) -> None:
        """Delete a function, its revisions and its events. The numbers are not used again.

        Raises:
            FunctionNotFound: If the function does not exist.
        """
        with self._database.writing() as connection:
            required_record(connection, name)
            connection.execute("DELETE FROM functions WHERE name = ?", (name,))
            drop_artifacts(connection)

    def scale(self, name: str, replicas: int) -> Scaling:
        """Set a fixed number of replicas.

        It stays until :meth:`release`, or until a deploy that sets scaling.

        Raises:
            FunctionNotFound: If the function does not exist.
            SpecInvalid: If the number is negative or too large.
        """
        return self._rescale(name, lambda scaling: scaling.with_replicas(replicas), "by hand")

    def release(self, name: str) -> Scaling:
        """Turn automatic scaling on again, within the function's own limits.

        Raises:
            FunctionNotFound: If the function does not exist.
        """
        return self._rescale(name, Scaling.released, "automatic again")

    def decide(self, name: str, replicas: int, reason: str) -> Scaling:
        """Store a decision of the autoscaler, within the current limits.

        Raises:
            FunctionNotFound: If the function does not exist.
        """
        return self._rescale(name, lambda scaling: scaling.autoscaled(replicas), reason)

    def _rescale(self, name: str, change: Callable[[Scaling], Scaling], reason: str) -> Scaling:
        with self._database.writing() as connection:
            before = required_record(connection, name)
            scaling = change(before.scaling)
            if scaling != before.scaling:
                now = self._clock()
                put_scaling(connection, name, scaling)
                detail = f"{scaling.replicas} ({scaling.minimum} to {scaling.maximum}), {reason}"
                self.event_log.note(connection, EventKind.SCALED, before.current, now, detail)
        return scaling

    def count_invocations(self, more: Mapping[str, int]) -> None:
        """Add to the functions' counts of calls. Names that are not deployed are ignored."""
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE functions SET invocations = invocations + ? WHERE name = ?",
                [(count, name) for name, count in more.items()],
            )
