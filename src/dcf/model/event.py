"""What happened to a function, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dcf.model.json_schema import FunctionName


class EventKind(StrEnum):
    """What happened."""

    DEPLOYED = "deployed"
    """A new revision is to serve."""
    CANARY = "canary"
    """A new revision serves a part of the calls."""
    PROMOTED = "promoted"
    """The canary is the current revision now."""
    ABORTED = "aborted"
    """The canary serves no longer."""
    ROLLED_BACK = "rolled-back"
    """An earlier revision is to serve again."""
    SCALED = "scaled"
    """Another number of replicas, or other bounds, are wanted."""
    START_FAILED = "start-failed"
    """A replica ended before it was ready."""
    CRASHED = "crashed"
    """A replica ended after it was ready, and nobody had asked it to."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        function: The function's name.
        kind: What it was.
        at: Seconds since the epoch.
        revision: Number of the revision that it happened to.
        key: One event has one key, so that an event told twice is recorded once.
        replica: Id of the replica; "" when it was the whole function.
        detail: One sentence.
        error: Class in ``dcf.errors``; "" when it was no error.
        traceback: The author's traceback; may be "".
    """

    function: FunctionName
    kind: EventKind
    at: float
    revision: int
    key: str
    replica: str = ""
    detail: str = ""
    error: str = ""
    traceback: str = ""
