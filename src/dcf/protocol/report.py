"""Reports from a watcher to its parent process: one JSON object per line on standard output.

The handler's own output goes to standard error, the log, so that the channel has only reports. The
channel ends when the process ends.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from dcf import errors
from dcf.model.endpoint import Endpoint
from dcf.model.replica import ReplicaState, follows
from dcf.protocol.json_text import read_json

TEXT_LIMIT = 16_000
"""Maximum characters of a detail and of a traceback. A traceback keeps its end, which names the
exception. Both together fit in the supervisor's line limit, whatever characters they have."""

PATH_LIMIT = 200
"""Maximum characters of an endpoint's path. No system accepts a socket's path of 200 bytes."""

_ERROR = re.compile(r"[A-Za-z]{0,64}")

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
        endpoint: Where it listens, as in ``WatcherSettings.listen``; "" if that did not change.
        error: Class in ``dcf.errors``, for FAILED and for an EXITED with a reason.
        detail: The error's message.
        traceback: The author's traceback.
    """

    state: ReplicaState
    endpoint: str = ""
    error: str = ""
    detail: str = ""
    traceback: str = ""

    def to_line(self) -> bytes:
        """Return the report as a line."""
        members = {
            "state": str(self.state),
            "endpoint": self.endpoint,
            "error": self.error,
            "detail": self.detail[:TEXT_LIMIT],
            "traceback": self.traceback[-TEXT_LIMIT:],
        }
        kept = {name: value for name, value in members.items() if value}
        # JSON escapes lone surrogates.
        return json.dumps(kept, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> Report:
        """Read a line that :meth:`to_line` wrote; reject anything else.

        Unknown members are ignored. Lone surrogates in texts are escaped.

        Raises:
            ValueError: If the line is not a report. The message says which member is wrong.
        """
        members = read_json(line)
        if not isinstance(members, dict):
            raise ValueError(f"expected a JSON object, got {line!r:.80}")  # noqa: TRY004  one error for all
        given = {
            name: _text(name, members.get(name, ""))
            for name in ("state", "endpoint", "error", "detail", "traceback")
        }
        if given["state"] not in _STATES:
            raise ValueError(f"state: expected {' or '.join(_STATES)}, got {given['state']!r:.40}")
        state = ReplicaState(given["state"])
        if not _ERROR.fullmatch(given["error"]):
            raise ValueError(f"error: expected the name of a class, got {given['error']!r:.80}")
        if state is ReplicaState.READY or given["endpoint"]:
            check_endpoint(given["endpoint"])
        return cls(
            state,
            given["endpoint"],
            given["error"],
            given["detail"][:TEXT_LIMIT],
            given["traceback"][-TEXT_LIMIT:],
        )

    @classmethod
    def failed(cls, error: errors.StartError) -> Report:
        """Return the report of a start that failed with ``error``."""
        return cls(
            ReplicaState.FAILED,
            error=type(error).__name__,
            detail=str(error),
            traceback=error.traceback,
        )

    def to_error(self) -> errors.StartError:
        """Return the error of a FAILED report."""
        kind = _START_ERRORS.get(self.error, errors.StartError)
        return kind(self.detail, self.traceback)


_STATES = tuple(str(state) for state in ReplicaState)


class ReportInvalid(ValueError):
    """A replica sent a line that is not a report, or a report that is out of order."""


class ReportReader:
    """Reads the reports of one replica and checks their order."""

    def __init__(self) -> None:
        """Create a reader."""
        self._state: ReplicaState | None = None

    def read(self, line: str | bytes) -> Report | None:
        """Read the next line.

        Returns:
            The report; None for a line that the interpreter printed during its start, before the
            watcher's first report.

        Raises:
            ReportInvalid: If a line after the first report is not a report, or is out of order.
        """
        try:
            report = Report.from_line(line)
        except ValueError as error:
            if self._state is None:
                return None
            raise ReportInvalid(str(error)) from error
        if self._state is not None and not follows(self._state, report.state):
            raise ReportInvalid(f"state {report.state} cannot follow {self._state}")
        self._state = report.state
        return report


def check_endpoint(endpoint: str) -> None:
    """Check that an endpoint is ``unix:PATH``, or ``tcp:HOST:PORT`` with a port above 0.

    Raises:
        ValueError: If it is not.
    """
    try:
        parsed = Endpoint.parse(endpoint)
    except ValueError as error:
        raise ValueError(f"endpoint: {error}") from None
    if len(parsed.path) > PATH_LIMIT:
        raise ValueError(f"endpoint: expected a path of at most {PATH_LIMIT} characters")
    if not parsed.is_unix and not parsed.port:
        raise ValueError(f"endpoint: expected a port above 0, got {endpoint!r:.80}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, got a {type(value).__name__}")  # noqa: TRY004  one error for all
    # A traceback may quote texts with lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode()
