"""Owns the replica's state and reports every change to the parent."""

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
        state: The current state.
        channel: File descriptor for the reports.
    """

    def __init__(self, channel: int) -> None:
        """Begin in STARTING.

        Args:
            channel: File descriptor for the reports.
        """
        self.state = ReplicaState.STARTING
        self.channel = channel

    def begin(self) -> None:
        """Tell the parent that this channel carries only reports from now on."""
        self._write(Report(ReplicaState.STARTING))

    def ready(self, endpoint: str) -> None:
        """Report that the replica accepts calls at ``endpoint``."""
        self._transition(Report(ReplicaState.READY, endpoint=endpoint))

    def failed(self, error: StartError) -> None:
        """Report that the handler cannot be started."""
        self._transition(Report.failed(error))

    def draining(self) -> None:
        """Report that the replica accepts no new calls."""
        self._transition(Report(ReplicaState.DRAINING))

    def exited(self, detail: str) -> None:
        """Report that the process is about to end by itself, because of ``detail``."""
        self._transition(Report(ReplicaState.EXITED, detail=detail))

    def _transition(self, report: Report) -> None:
        if not follows(self.state, report.state):
            return
        self.state = report.state
        self._write(report)

    def _write(self, report: Report) -> None:
        try:
            os.write(self.channel, report.to_line())
        except OSError:
            # Continue without a reader: the lifeline ends the replica if its parent has ended.
            logger.debug("the reports cannot be written")
