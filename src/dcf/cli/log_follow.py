"""Follows a log and reconnects when the gateway restarts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dcf.cli.console import Console
from dcf.client.gateway import Client
from dcf.errors import DeadlineExceeded, GatewayUnreachable, NotReady, Overloaded, ReplicaLost
from dcf.model.status import ReplicaLine

AWAY = (GatewayUnreachable, NotReady, ReplicaLost, DeadlineExceeded, Overloaded)
"""Errors that occur while a control plane or a whole gateway restarts."""

GATEWAY_TIMEOUT = 60.0
"""Seconds without an answer after which following ends with an error."""

RETRY = 0.5
"""Seconds between two attempts."""

OVERLAP = 5.0
"""Seconds that are read again after a reconnect, because the lines of several replicas are only
roughly ordered by time."""


@dataclass(slots=True)
class _Position:
    """How far a replica's lines were read.

    Times have a resolution of a millisecond, so the lines of the last millisecond are counted.
    """

    at: float = 0.0
    lines: int = 0


class _Deduplicator:
    """Remembers which lines were read, to skip lines that arrive again."""

    def __init__(self) -> None:
        self._last: dict[str, _Position] = {}
        self._again: dict[str, _Position] = {}
        self._first = 0.0

    @property
    def resume(self) -> float:
        """The time from which to read again, in seconds since 1970; 0 before the first line."""
        newest = max((position.at for position in self._last.values()), default=0.0)
        return max(self._first, newest - OVERLAP) if self._last else 0.0

    def restart(self) -> None:
        """Expect lines that may have been read before."""
        self._again = {
            name: _Position(position.at, position.lines) for name, position in self._last.items()
        }

    def is_new(self, line: ReplicaLine) -> bool:
        """Return whether the line is new, and remember it."""
        again = self._again.get(line.replica)
        if again is not None and line.at < again.at:
            return False
        if again is not None and line.at == again.at and again.lines:
            again.lines -= 1
            return False
        if not self._last:
            self._first = line.at
        last = self._last.setdefault(line.replica, _Position())
        if line.at > last.at:
            last.at, last.lines = line.at, 0
        last.lines += 1
        return True


def following(
    client: Client,
    function: str,
    console: Console,
    *,
    since: float,
    tail: int | None,
    replica: str,
) -> Iterator[ReplicaLine]:
    """Yield the lines of a function's replicas, forever.

    If the connection breaks, reading resumes where it stopped, without gaps or duplicates.

    Args:
        client: Client of the gateway.
        function: The function's name.
        console: Prints that the gateway does not answer.
        since: Skip lines before this time, in seconds since 1970.
        tail: Maximum number of lines that already exist; None for all.
        replica: Only the lines of this replica; "" for all.

    Raises:
        FunctionNotFound: If the function is not deployed, or was deleted.
        GatewayUnreachable: If the gateway does not answer for too long.
    """
    client.function(function)  # report a missing function at once
    seen = _Deduplicator()
    begin = time.time()
    resume = 0.0
    while True:
        with contextlib.suppress(*AWAY):
            lines = client.logs(
                function,
                since=max(since, resume),
                tail=None if resume else tail,
                follow=True,
                replica=replica,
            )
            yield from filter(seen.is_new, lines)
        _wait_for(client, function, console)
        seen.restart()
        resume = seen.resume or begin


def _wait_for(client: Client, function: str, console: Console) -> None:
    """Wait until the gateway answers again."""
    until = time.monotonic() + GATEWAY_TIMEOUT
    is_reported = False
    while True:
        time.sleep(RETRY)
        try:
            client.function(function)
        except AWAY:
            if time.monotonic() > until:
                raise
            if not is_reported:
                console.print("The gateway does not answer; waiting for it ...")
                is_reported = True
        else:
            return
