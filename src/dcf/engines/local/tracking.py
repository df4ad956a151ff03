"""From what the supervisor saw of a process to what a replica is: a pure translation."""

from __future__ import annotations

import signal
from dataclasses import replace

from dcf.engines.local.confinement import Confinement
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState, follows
from dcf.protocol.report import Report
from dcf.supervision.messages import ExitRecord, ProcessStatus


class Track:
    """One replica, followed. The owner of its state on this side.

    Attributes:
        seen: The replica now.
        confinement: What holds it to its limits.
    """

    def __init__(self, replica: ReplicaId, confinement: Confinement | None = None) -> None:
        """A replica whose process runs.

        Args:
            replica: Which.
            confinement: What holds it to its limits.
        """
        self.confinement = confinement or Confinement()
        limits = self.confinement.describe()
        self.seen = Observation(replica, ReplicaState.STARTING, limits=limits)
        self._said: Report | None = None

    @classmethod
    def of(cls, replica: ReplicaId, status: ProcessStatus) -> Track:
        """A replica that was started earlier, from what the supervisor remembers.

        Its end is not looked at: that is for :meth:`exited`.
        """
        track = cls(replica, Confinement.from_note(status.note))
        for line in status.reports:
            track.reported(line, status.since)
        return track

    def reported(self, line: str, at: float) -> bool:
        """Follows a line of the replica's reports, read at ``at``."""
        try:
            report = Report.from_line(line.encode())
        except (ValueError, KeyError, TypeError):
            # Printed by the interpreter's own start, before the watcher took the channel.
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


def _explain(record: ExitRecord, why: str) -> str:
    if why and not record.asked:
        return f"{record.reason}: {why}"
    if record.code == -signal.SIGKILL and not record.asked:
        return f"{record.reason}; the system does this when memory runs out"
    return record.reason
