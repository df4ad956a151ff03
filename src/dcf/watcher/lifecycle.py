"""The replica's state: one owner, and what its parent is told of every change."""

from __future__ import annotations

import logging
import os

from dcf.errors import StartError
from dcf.model.replica import ReplicaState, follows
from dcf.protocol.report import Report

logger = logging.getLogger("dcf.watcher")


class Lifecycle:
    """Holds the state and writes a report for each change.

    Attributes:
        state: The state now.
        channel: File descriptor for the reports.
    """

    def __init__(self, channel: int) -> None:
        """Starts a life in STARTING.

        Args:
            channel: File descriptor for the reports.
        """
        self.state = ReplicaState.STARTING
        self.channel = channel

    def begin(self) -> None:
        """Tell the parent that this channel carries only reports from now on."""
        self._write(Report(ReplicaState.STARTING))

    def ready(self, endpoint: str) -> None:
        """Calls are taken at ``endpoint``."""
        self._to(Report(ReplicaState.READY, endpoint=endpoint))

    def failed(self, error: StartError) -> None:
        """The handler cannot be started."""
        self._to(Report.failed(error))

    def draining(self) -> None:
        """No new calls are taken."""
        self._to(Report(ReplicaState.DRAINING))

    def exited(self, detail: str) -> None:
        """The process is about to end by itself, because of ``detail``."""
        self._to(Report(ReplicaState.EXITED, detail=detail))

    def _to(self, report: Report) -> None:
        if not follows(self.state, report.state):
            return
        self.state = report.state
        self._write(report)

    def _write(self, report: Report) -> None:
        try:
            os.write(self.channel, report.to_line())
        except OSError:
            # A parent that no longer reads is no reason to end.
            logger.debug("nobody reads the reports")
