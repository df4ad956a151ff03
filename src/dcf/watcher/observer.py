"""A hook for what observes the calls of a replica: tracing, metrics."""

from __future__ import annotations

from typing import Protocol

from dcf.watcher.call import Call


class Observer(Protocol):
    """Is notified of every call. The methods run on the server's loop and must not raise."""

    def admitted(self, call: Call) -> None:
        """Observe a call that was just admitted."""

    def released(self, call: Call) -> None:
        """Observe a call that is over: its clock, and its outcome or failure."""


class NullObserver:
    """Ignores all calls."""

    def admitted(self, call: Call) -> None:
        """Do nothing."""

    def released(self, call: Call) -> None:
        """Do nothing."""
