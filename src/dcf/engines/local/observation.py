"""From what the supervisor saw of a process to what a replica is: a pure translation."""

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
    """One replica, followed. The owner of its state on this side.

    Attributes:
        seen: The replica now.
        confinement: What holds it to its limits.
        fault: What was wrong with its reports, as a sentence; "" if they are valid. If it is set,
            the process must be ended, and its further reports are ignored.
    """

    def __init__(
        self, replica: ReplicaId, confinement: Limits | None = None, listen: str = ""
    ) -> None:
        """A replica whose process runs.

        Args:
            replica: Which.
            confinement: What holds it to its limits.
            listen: The endpoint it was told to listen on; "" if that is unknown.
        """
        self.confinement = confinement or Limits()
        self.fault = ""
        self._listen = listen
        self._reports = ReportReader()
        limits = self.confinement.describe()
        self.seen = Observation(replica, ReplicaState.STARTING, limits=limits)
        self._said: Report | None = None

    @classmethod
    def of(cls, replica: ReplicaId, status: ProcessStatus) -> Track:
        """A replica that was started earlier, from what the supervisor remembers.

        Its end is not looked at: that is for :meth:`exited`.
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
            self._said = report
        if report.state is ReplicaState.EXITED:
            # It only announces its end and why; the process is gone when the supervisor says so.
            return False
        exit_ = None
        if report.state is ReplicaState.FAILED:
            exit_ = ReplicaExit(None, at, report.detail, report.error, report.traceback)
        return self._to(report.state, report.endpoint or self.seen.endpoint, exit_)

    def _check(self, endpoint: str) -> None:
        """Check that calls may be sent to an endpoint that the replica names.

        Raises:
            ValueError: If the replica was told to listen on another endpoint.
        """
        # If the system chooses the port, it is not known in advance.
        known = self._listen.removesuffix(":0")
        own = endpoint.rpartition(":")[0] if known != self._listen else endpoint
        if self._listen and own != known:
            raise ValueError(f"endpoint: expected {self._listen}, got {endpoint!r:.200}")

    def _fail(self, sentence: str, at: float) -> bool:
        self.fault = sentence
        self._said = Report(ReplicaState.EXITED, detail=sentence)
        state = ReplicaState.FAILED
        if not follows(self.seen.state, state):
            state = ReplicaState.DRAINING
        return self._to(state, self.seen.endpoint, ReplicaExit(None, at, sentence))

    def exited(self, record: ExitRecord, why: str = "") -> bool:
        """Follows the end of the replica's process.

        Args:
            record: How it ended.
            why: What its limits had to do with that; "" for nothing.
        """
        said = self._said
        exit_ = ReplicaExit(
            code=record.code,
            at=record.at,
            reason=said.detail if said else _explain(record, why),
            error=said.error if said else "",
            traceback=said.traceback if said else "",
            asked=record.asked,
        )
        return self._to(ReplicaState.EXITED, self.seen.endpoint, exit_)

    def _to(self, state: ReplicaState, endpoint: str, exit_: ReplicaExit | None) -> bool:
        if not follows(self.seen.state, state):
            return False
        self.seen = replace(self.seen, state=state, endpoint=endpoint, exit=exit_)
        return True


def to_note(confinement: Limits, listen: str) -> str:
    """Return the note to store with a replica's process; :func:`read_note` reads it."""
    return json.dumps({**json.loads(confinement.to_note()), "listen": listen})


def read_note(note: str) -> tuple[Limits, str]:
    """Return a replica's confinement, and the endpoint it was told to listen on.

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
