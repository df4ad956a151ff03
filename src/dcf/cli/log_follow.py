"""A log that is read on, whatever happens to the gateway meanwhile."""

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
"""What is told while a control plane, or all of a gateway, starts again."""

PATIENCE = 60.0
"""Seconds without an answer after which a gateway is given up."""

RETRY = 0.5
"""Seconds between two tries."""

OVERLAP = 5.0
"""Seconds that are read once more: the lines of several replicas come only nearly by time."""


@dataclass(slots=True)
class _Last:
    """How far a replica's lines were read. Times are no finer than a millisecond, so those of the
    last one are counted.
    """

    at: float = 0.0
    lines: int = 0


class _Seen:
    """What was read of each replica, to pass over what comes a second time."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}
        self._again: dict[str, _Last] = {}
        self._first = 0.0

    @property
    def resume(self) -> float:
        """Where reading is to go on, in seconds since the epoch; 0 before the first line."""
        newest = max((one.at for one in self._last.values()), default=0.0)
        return max(self._first, newest - OVERLAP) if self._last else 0.0

    def restart(self) -> None:
        """From now on lines come that may have come before."""
        self._again = {name: _Last(one.at, one.lines) for name, one in self._last.items()}

    def is_new(self, line: ReplicaLine) -> bool:
        """Whether the line comes for the first time; it is noted then."""
        again = self._again.get(line.replica)
        if again is not None and line.at < again.at:
            return False
        if again is not None and line.at == again.at and again.lines:
            again.lines -= 1
            return False
        if not self._last:
            self._first = line.at
        last = self._last.setdefault(line.replica, _Last())
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
    """The lines of a function's replicas without an end.

    When the connection breaks, reading goes on where it was: nothing is left out or comes twice.

    Args:
        client: Of the gateway.
        function: The function's name.
        console: Hears that the gateway is away.
        since: Lines from this time on, in seconds since the epoch.
        tail: At most this many of those that are there; None is all.
        replica: Of this one alone; "" is all.

    Raises:
        FunctionNotFound: When it is not, or no longer, deployed.
        GatewayUnreachable: When the gateway does not answer, or does not come back.
    """
    client.function(function)  # who asks for what is not there is told so at once
    seen = _Seen()
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
    """Waits until the gateway tells of the function again."""
    until = time.monotonic() + PATIENCE
    told = False
    while True:
        time.sleep(RETRY)
        try:
            client.function(function)
        except AWAY:
            if time.monotonic() > until:
                raise
            if not told:
                console.say("The gateway does not answer; waiting for it ...")
                told = True
        else:
            return
