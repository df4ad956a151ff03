"""Translates events of a process to states of a replica, without I/O."""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import replace

from dcf.engines.local.limits import Limits
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState, follows
from dcf.protocol.json_text import read_json
from dcf.protocol.report import Report, ReportReader
from dcf.supervision.process_messages import ExitRecord, ProcessStatus

logger = logging.getLogger("dcf.engines")


class Track:
    """Owns the state of one replica.

    Attributes:
        seen: The replica's latest observation.
        confinement: How it is held to its limits.
        fault: What was wrong with its reports, as a sentence; "" if they are valid. If it is set,
            the process must be ended, and its further reports are ignored.
    """

    def __init__(
        self, replica: ReplicaId, confinement: Limits | None = None, listen: str = ""
    ) -> None:
        """Track a replica whose process runs.

        Args:
            replica: The replica.
            confinement: How it is held to its limits.
            listen: The endpoint that the engine assigned to it; "" if unknown.
        """
        self.confinement = confinement or Limits()
        self.fault = ""
        self._listen = listen
        self._reports = ReportReader()
        limits = self.confinement.describe()
        self.seen = Observation(replica, ReplicaState.STARTING, limits=limits)
        self._last_report: Report | None = None

    @classmethod
    def of(cls, replica: ReplicaId, status: ProcessStatus) -> Track:
        """Return the track of a replica that was started earlier.

        Apply its end with :meth:`exited`.
        """
        track = cls(replica, *read_note(status.note))
        for line in status.reports:
            track.reported(line, status.since)
        return track

    def reported(self, line: str, at: float) -> bool:
        """Apply a line of the replica's reports, read at ``at``.

        A report that is invalid, or that names another endpoint, fails only this replica.
        """
        if self.fault:
            return False
        try:
            report = self._reports.read(line)
            if report is not None and report.endpoint:
                self._check(report.endpoint)
        except ValueError as error:
            return self._fail(f"it sent an invalid report: {error}", at)
        if report is None:
            return False
        if report.error or report.detail:
            self._last_report = report
        if report.state is ReplicaState.EXITED:
            # The replica announces its end. The supervisor reports when the process has ended.
            return False
        exit_ = None
        if report.state is ReplicaState.FAILED:
            exit_ = ReplicaExit(None, at, report.detail, report.error, report.traceback)
        return self._transition(report.state, report.endpoint or self.seen.endpoint, exit_)

    def _check(self, endpoint: str) -> None:
        """Check that calls may be sent to an endpoint that the replica names.

        Raises:
            ValueError: If the engine assigned another endpoint to the replica.
        """
        # If the system chooses the port, it is not known in advance.
        known = self._listen.removesuffix(":0")
        own = endpoint.rpartition(":")[0] if known != self._listen else endpoint
        if self._listen and own != known:
            raise ValueError(f"endpoint: expected {self._listen}, got {endpoint!r:.200}")

    def _fail(self, sentence: str, at: float) -> bool:
        self.fault = sentence
        self._last_report = Report(ReplicaState.EXITED, detail=sentence)
        state = ReplicaState.FAILED
        if not follows(self.seen.state, state):
            state = ReplicaState.DRAINING
        return self._transition(state, self.seen.endpoint, ReplicaExit(None, at, sentence))

    def exited(self, record: ExitRecord, why: str = "") -> bool:
        """Apply the end of the replica's process.

        Args:
            record: How it ended.
            why: How its limits explain that; "" if they do not.
        """
        report = self._last_report
        exit_ = ReplicaExit(
            code=record.code,
            at=record.at,
            reason=report.detail if report else _explain(record, why),
            error=report.error if report else "",
            traceback=report.traceback if report else "",
            asked=record.asked,
        )
        return self._transition(ReplicaState.EXITED, self.seen.endpoint, exit_)

    def _transition(self, state: ReplicaState, endpoint: str, exit_: ReplicaExit | None) -> bool:
        if not follows(self.seen.state, state):
            return False
        self.seen = replace(self.seen, state=state, endpoint=endpoint, exit=exit_)
        return True


def to_note(confinement: Limits, listen: str) -> str:
    """Return the note to store with a replica's process; :func:`read_note` reads it."""
    return json.dumps({**json.loads(confinement.to_note()), "listen": listen})


def read_note(note: str) -> tuple[Limits, str]:
    """Return a replica's confinement, and the endpoint that the engine assigned to it.

    Both are unknown if the note is missing or cannot be read.
    """
    if not note:
        return Limits(), ""
    try:
        confinement = Limits.from_note(note)
        confinement.describe()
        return confinement, str(read_json(note).get("listen", ""))
    except (ValueError, TypeError, AttributeError) as error:
        logger.warning("a replica's note cannot be read: %s", error)
        return Limits(), ""


def _explain(record: ExitRecord, why: str) -> str:
    if why and not record.asked:
        return f"{record.reason}: {why}"
    if record.code == -signal.SIGKILL and not record.asked:
        return f"{record.reason}; the system does this when memory runs out"
    return record.reason
