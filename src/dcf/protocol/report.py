"""What a watcher tells the process that started it: one JSON object a line on standard output.

Whatever the handler prints goes to standard error, the log, so the channel carries reports alone.
The end of the channel is the end of the process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dcf import errors
from dcf.model.replica import ReplicaState
from dcf.protocol.text import whole_text

_START_ERRORS = {
    kind.__name__: kind
    for kind in (
        errors.HandlerNotFound,
        errors.HandlerImportFailed,
        errors.HandlerInitFailed,
        errors.StartTimeout,
        errors.ConfinementFailed,
        errors.AddressInUse,
    )
}


@dataclass(frozen=True, slots=True)
class Report:
    """A change of a replica's state.

    Attributes:
        state: The new state.
        endpoint: Where it listens, as in ``WatcherSettings.listen``; "" where that did not change.
        error: Class in ``dcf.errors``, for FAILED and for an EXITED with a reason.
        detail: The error's sentence.
        traceback: The author's traceback.
    """

    state: ReplicaState
    endpoint: str = ""
    error: str = ""
    detail: str = ""
    traceback: str = ""

    def to_line(self) -> bytes:
        """The line that says this."""
        members = {
            "state": str(self.state),
            "endpoint": self.endpoint,
            "error": self.error,
            "detail": self.detail,
            "traceback": self.traceback,
        }
        kept = {name: value for name, value in members.items() if value}
        return json.dumps(kept).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Report:
        """Reads what :meth:`to_line` wrote.

        Raises:
            ValueError: When it is something else.
        """
        members = json.loads(line)
        if not isinstance(members, dict):
            raise ValueError(f"{line!r:.80} is no report")  # noqa: TRY004  one error for all
        texts = {
            # The catalog cannot store half of a character, nor can a document hold it.
            name: whole_text(value) if isinstance(value, str) else value
            for name in ("endpoint", "error", "detail", "traceback")
            if (value := members.get(name)) is not None
        }
        return cls(state=ReplicaState(str(members.get("state"))), **texts)

    @classmethod
    def failed(cls, error: errors.StartError) -> Report:
        """The report that a start failed with ``error``."""
        return cls(
            ReplicaState.FAILED,
            error=type(error).__name__,
            detail=str(error),
            traceback=error.traceback,
        )

    def to_error(self) -> errors.StartError:
        """The error that a FAILED report carries."""
        kind = _START_ERRORS.get(self.error, errors.StartError)
        return kind(self.detail, self.traceback)
