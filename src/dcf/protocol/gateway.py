"""The gateway's HTTP interface: its paths, and what travels as JSON, both ways.

Whoever reads passes over members that it does not know, so that an older client can talk to a newer
gateway. A member that is missing has its default, where it has one.
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
    ReplicaLine,
    ReplicaStatus,
    RevisionStatus,
    Wanting,
)

HEALTHZ = "/healthz"
METRICS = "/metrics"
OPENAPI = "/openapi.json"
INFO = "/system/info"
FUNCTIONS = "/system/functions"
"""GET lists; POST and PUT deploy."""
FUNCTION = "/system/function/"
"""And the name: GET, DELETE; behind the name :data:`REVISIONS` and its like."""
REVISIONS = "/revisions"
EVENTS = "/events"
"""Behind a function's path: GET."""
ROLLBACK = "/rollback"
"""Behind a function's path: POST, with ``revision`` or without a body."""
PROMOTE = "/promote"
ABORT = "/abort"
"""Behind a function's path: POST."""
LOG = "/system/function-log/"
"""And the name: GET with ``since``, ``tail``, ``follow``, ``replica``."""
SCALE = "/system/scale-function"
"""PUT: ``name`` and ``replicas``; null has the function scale by itself."""
UPLOADS = "/system/uploads"
"""POST: a bundle's list and a lock; the answer tells which blobs are wanted."""
BLOBS = "/system/blobs/"
"""And the digest: PUT with ``offset`` sends the rest of a blob."""
KEYS = "/system/keys"
"""GET lists, POST makes; behind it ``/NAME``: DELETE revokes."""

JSON_LINES = "application/jsonl"
"""One JSON object a line, each as soon as it is known."""

Record = TypeVar("Record")


def members_of(record: Any) -> dict[str, Any]:
    """A record of ``dcf.model.status`` (or an event) as the members of a JSON object."""
    return asdict(record)


def function_of(members: Mapping[str, Any]) -> FunctionStatus:
    """Reads a function.

    Raises:
        KeyError, TypeError, ValueError: When it is none.
    """
    own = dict(members)
    own["state"] = FunctionState(own["state"])
    if own.get("failure") is not None:
        own["failure"] = _record(Failure, own["failure"])
    replicas = own.get("replica_list") or ()
    own["replica_list"] = tuple(_replica(one) for one in replicas)
    return _record(FunctionStatus, own)


def revision_of(members: Mapping[str, Any]) -> RevisionStatus:
    """Reads a revision. Errors as for :func:`function_of`."""
    return _record(RevisionStatus, members)


def event_of(members: Mapping[str, Any]) -> Event:
    """Reads an event. Errors as for :func:`function_of`."""
    return _record(Event, {**members, "kind": EventKind(members["kind"])})


def line_of(members: Mapping[str, Any]) -> ReplicaLine:
    """Reads a line of a log. Errors as for :func:`function_of`."""
    return _record(ReplicaLine, members)


def wanting_of(members: Mapping[str, Any]) -> Wanting:
    """Reads a blob that is wanted. Errors as for :func:`function_of`."""
    return _record(Wanting, members)


def info_of(members: Mapping[str, Any]) -> GatewayInfo:
    """Reads what a gateway tells of itself. Errors as for :func:`function_of`."""
    return _record(GatewayInfo, members)


def upload(files: Sequence[BundleFile], lock: str) -> dict[str, Any]:
    """The body of a POST to :data:`UPLOADS`."""
    return {
        "files": [[one.path, one.digest, one.size, one.executable] for one in files],
        "lock": lock,
    }


def _replica(members: Mapping[str, Any]) -> ReplicaStatus:
    return _record(ReplicaStatus, {**members, "limits": tuple(members.get("limits") or ())})


def _record(kind: type[Record], members: Mapping[str, Any]) -> Record:
    if not isinstance(members, Mapping):
        raise TypeError(f"expected a JSON object, got {type(members).__name__}")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in members.items() if name in known})
