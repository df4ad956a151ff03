"""Events in the history of a function, for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dcf.model.json_schema import FunctionName


class EventKind(StrEnum):
    """What kind of event it is."""

    DEPLOYED = "deployed"
    """A new revision was deployed and becomes the current one."""
    CANARY = "canary"
    """A new revision gets a share of the calls."""
    PROMOTED = "promoted"
    """The canary became the current revision."""
    ABORTED = "aborted"
    """The canary was withdrawn."""
    ROLLED_BACK = "rolled-back"
    """An earlier revision became the current one again."""
    SCALED = "scaled"
    """The number of replicas, or its bounds, changed."""
    START_FAILED = "start-failed"
    """A replica exited before it was ready."""
    CRASHED = "crashed"
    """A replica exited after it was ready, without being asked to."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        function: The function's name.
        kind: What happened.
        at: Seconds since the epoch.
        revision: Number of the affected revision.
        key: Identifies the event, so that it is recorded once even if it is reported twice.
        replica: Id of the replica; "" for an event of the whole function.
        detail: One sentence for people.
        error: Class in ``dcf.errors``; "" if it was not an error.
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
