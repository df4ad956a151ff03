"""The gateway's HTTP interface: its paths, and the conversion of records to JSON and back.

Readers ignore unknown members, so that an older client works with a newer gateway. A missing member
gets its default, if it has one.
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

HEALTHZ = "/healthz"
METRICS = "/metrics"
OPENAPI = "/openapi.json"
INFO = "/system/info"
FUNCTIONS = "/system/functions"
"""GET lists functions; POST and PUT deploy one."""
FUNCTION = "/system/function/"
"""Followed by the name: GET, DELETE. :data:`REVISIONS` and the paths below it follow the name."""
REVISIONS = "/revisions"
EVENTS = "/events"
"""Appended to a function's path: GET."""
ROLLBACK = "/rollback"
"""Appended to a function's path: POST, with ``revision`` or without a body."""
PROMOTE = "/promote"
ABORT = "/abort"
"""Appended to a function's path: POST."""
LOG = "/system/function-log/"
"""Followed by the name: GET with ``since``, ``tail``, ``follow``, ``replica``."""
SCALE = "/system/scale-function"
"""PUT: ``name`` and ``replicas``; null turns on autoscaling."""
UPLOADS = "/system/uploads"
"""POST: a bundle's list of files and a lock. The reply lists the missing blobs."""
BLOBS = "/system/blobs/"
"""Followed by the digest: PUT with ``offset`` sends the rest of a blob."""
KEYS = "/system/keys"
"""GET lists keys, POST creates one; with ``/NAME``, DELETE revokes one."""

JSON_LINES = "application/jsonl"
"""One JSON object per line, each sent at once."""

Record = TypeVar("Record")


def members_of(record: Any) -> dict[str, Any]:
    """Return a record of ``dcf.model.status``, or an event, as the members of a JSON object."""
    return asdict(record)


def function_of(members: Mapping[str, Any]) -> FunctionStatus:
    """Return the function for the members of a JSON object.

    Raises:
        KeyError, TypeError, ValueError: If they are not those of a function.
    """
    own = dict(members)
    own["state"] = FunctionState(own["state"])
    if own.get("failure") is not None:
        own["failure"] = _record(Failure, own["failure"])
    replicas = own.get("replica_list") or ()
    own["replica_list"] = tuple(_replica(replica) for replica in replicas)
    return _record(FunctionStatus, own)


def revision_of(members: Mapping[str, Any]) -> RevisionStatus:
    """Return the revision. Raises as :func:`function_of`."""
    return _record(RevisionStatus, members)


def event_of(members: Mapping[str, Any]) -> Event:
    """Return the event. Raises as :func:`function_of`."""
    return _record(Event, {**members, "kind": EventKind(members["kind"])})


def line_of(members: Mapping[str, Any]) -> ReplicaLine:
    """Return the line of a log. Raises as :func:`function_of`."""
    return _record(ReplicaLine, members)


def missing_blob_of(members: Mapping[str, Any]) -> MissingBlob:
    """Return the missing blob. Raises as :func:`function_of`."""
    return _record(MissingBlob, members)


def info_of(members: Mapping[str, Any]) -> GatewayInfo:
    """Return the gateway's information. Raises as :func:`function_of`."""
    return _record(GatewayInfo, members)


def upload(files: Sequence[BundleFile], lock: str) -> dict[str, Any]:
    """Return the body of a POST to :data:`UPLOADS`."""
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
