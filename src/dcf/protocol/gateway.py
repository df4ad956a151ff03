"""JSON of the gateway's HTTP interface: records to JSON objects, and back.

A reader ignores unknown members, so that an older client can talk to a newer gateway. A missing
member gets its default if it has one. The routes are in ``dcf.protocol.routes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from dcf.model.artifact import BundleFile
from dcf.model.event import Event, EventKind
from dcf.model.status import (
    Failure,
    FunctionState,
    FunctionStatus,
    GatewayInfo,
    MissingBlob,
    ReplicaLine,
    ReplicaStatus,
    RevisionStatus,
)

JSON_LINES = "application/jsonl"
"""Media type of replies with one JSON object per line, each sent as soon as it is known."""

Record = TypeVar("Record")


def members_of(record: Any) -> dict[str, Any]:
    """Return a record of ``dcf.model.status``, or an event, as a JSON object."""
    return asdict(record)


def function_of(members: Mapping[str, Any]) -> FunctionStatus:
    """Parse a function's status.

    Raises:
        KeyError, TypeError, ValueError: If it is not valid.
    """
    own = dict(members)
    own["state"] = FunctionState(own["state"])
    if own.get("failure") is not None:
        own["failure"] = _record(Failure, own["failure"])
    replicas = own.get("replica_list") or ()
    own["replica_list"] = tuple(_replica(replica) for replica in replicas)
    return _record(FunctionStatus, own)


def revision_of(members: Mapping[str, Any]) -> RevisionStatus:
    """Parse a revision. Errors as for :func:`function_of`."""
    return _record(RevisionStatus, members)


def event_of(members: Mapping[str, Any]) -> Event:
    """Parse an event. Errors as for :func:`function_of`."""
    return _record(Event, {**members, "kind": EventKind(members["kind"])})


def line_of(members: Mapping[str, Any]) -> ReplicaLine:
    """Parse a line of a log. Errors as for :func:`function_of`."""
    return _record(ReplicaLine, members)


def missing_blob_of(members: Mapping[str, Any]) -> MissingBlob:
    """Parse a missing blob. Errors as for :func:`function_of`."""
    return _record(MissingBlob, members)


def info_of(members: Mapping[str, Any]) -> GatewayInfo:
    """Parse a gateway's version and state. Errors as for :func:`function_of`."""
    return _record(GatewayInfo, members)


def upload(files: Sequence[BundleFile], lock: str) -> dict[str, Any]:
    """Return the body that announces an upload."""
    return {
        "files": [[file.path, file.digest, file.size, file.executable] for file in files],
        "lock": lock,
    }


def _replica(members: Mapping[str, Any]) -> ReplicaStatus:
    return _record(ReplicaStatus, {**members, "limits": tuple(members.get("limits") or ())})


def _record(kind: type[Record], members: Mapping[str, Any]) -> Record:
    if not isinstance(members, Mapping):
        raise TypeError(f"expected a JSON object, got {type(members).__name__}")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in members.items() if name in known})
