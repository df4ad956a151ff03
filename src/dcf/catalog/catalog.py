"""The catalog: what is deployed, and what must be known of it after everything was killed.

Whatever a method has returned from lasts. Methods may be called from any thread; those that write
wait for the disk (milliseconds), so an event loop calls them in a thread.
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
"""Revisions of a function that can be gone back to."""

ALL = 100.0
"""Percent."""


class Catalog(Queries):
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
        super().__init__(Database(path))
        self._clock = clock
        self.journal = EventLog(self._database)
        self.keys = ApiKeys(self._database, clock)

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
        wish: ScalingSpec = NO_SCALING,
        annotations: Mapping[str, str] | None = None,
        canary: float | None = None,
        kept: int = KEPT_REVISIONS,
    ) -> Revision:
        """Makes ``artifact`` with ``spec`` what the function is to serve, wholly or in part.

        Where they are what it is to serve already, that revision is returned and no new one made.
        Description, maintainer, labels and scaling are taken over in either case. A canary that was
        there ends, unless it is this very one.

        Args:
            spec: How it runs; its name says which function.
            artifact: What runs.
            wish: What is asked for beyond the spec's ``scaling``, and counts before it.
            annotations: Replace those known; None keeps them.
            canary: Percent of the calls that the new revision is to get; None makes it the current
                one.
            kept: Newest revisions that are kept.

        Raises:
            InvalidName: When the name breaks the naming rule.
            RolloutInvalid: When there is nothing beside which a canary could be tried.
            SpecInvalid: When the scaling cannot be had, or the share is none.
        """
        check_name(spec.name)
        if canary is not None and not 0 < canary < ALL:
            raise SpecInvalid(f"canary: {canary:g} found, percent above 0 and below 100 are wanted")
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
                # A new revision is tried at once, also where nobody calls just now.
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
                self.journal.note(connection, kind, revision, now, detail)
        return revision

    def rollback(self, name: str, number: int | None = None) -> FunctionRecord:
        """Makes an earlier revision the current one again. A canary ends.

        Args:
            name: The function.
            number: Which revision; None takes the one before the current one.

        Raises:
            FunctionNotFound: When there is no such function or revision; with those there are.
            RolloutInvalid: When there is none before the current one.
        """
        with self._database.writing() as connection:
            record = required_record(connection, name)
            if number is None:
                query = "SELECT max(number) FROM revisions WHERE function = ? AND number < ?"
                (number,) = connection.execute(query, (name, record.current.number)).fetchone()
                if number is None:
                    current = record.current.number
                    raise RolloutInvalid(f"{name} has no revision before {current}, its current")
            revision = required_revision(connection, name, number)
            detail = f"from revision {record.current.number} to {number}"
            return self._serve(connection, record, revision, EventKind.ROLLED_BACK, detail)

    def promote(self, name: str) -> FunctionRecord:
        """Makes the canary the current revision.

        Raises:
            FunctionNotFound: With the nearest names.
            RolloutInvalid: When there is no canary.
        """
        with self._database.writing() as connection:
            record, canary = required_canary(connection, name)
            detail = f"revision {canary.revision.number} in place of {record.current.number}"
            return self._serve(connection, record, canary.revision, EventKind.PROMOTED, detail)

    def abort(self, name: str) -> FunctionRecord:
        """Ends the canary; the current revision gets all calls again.

        Raises:
            FunctionNotFound: With the nearest names.
            RolloutInvalid: When there is no canary.
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
        """Has a revision serve all calls."""
        scaling = before.scaling
        if revision != before.current and not scaling.by_hand:
            scaling = scaling.autoscaled(max(1, scaling.replicas))
        after = replace(before, current=revision, canary=None, scaling=scaling)
        if after == before:
            return before
        now = self._clock()
        after = replace(after, updated=now)
        put_record(connection, after, now)
        self.journal.note(connection, kind, revision, now, detail)
        return after

    def delete(self, name: str) -> None:
        """Forgets a function with its revisions and events; its revisions' numbers stay used.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        with self._database.writing() as connection:
            required_record(connection, name)
            connection.execute("DELETE FROM functions WHERE name = ?", (name,))
            drop_artifacts(connection)

    def scale(self, name: str, replicas: int) -> Scaling:
        """Asks for a number of replicas by hand.

        It stays until :meth:`release`, or a deploy that says something about scaling.

        Raises:
            FunctionNotFound: With the nearest names.
            SpecInvalid: When the number is negative or too large.
        """
        return self._rescale(name, lambda scaling: scaling.with_replicas(replicas), "by hand")

    def release(self, name: str) -> Scaling:
        """Has a function scale by itself again, within its own bounds.

        Raises:
            FunctionNotFound: With the nearest names.
        """
        return self._rescale(name, Scaling.released, "by itself again")

    def decide(self, name: str, replicas: int, reason: str) -> Scaling:
        """Takes over a number of replicas that was decided on, within the bounds in force.

        Raises:
            FunctionNotFound: With the nearest names.
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
                self.journal.note(connection, EventKind.SCALED, before.current, now, detail)
        return scaling

    def count_invocations(self, more: Mapping[str, int]) -> None:
        """Adds to the functions' counts; names that are not deployed are passed over."""
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE functions SET invocations = invocations + ? WHERE name = ?",
                [(count, name) for name, count in more.items()],
            )
