"""Asks ready replicas whether they still answer.

A handler that hangs is found by its watcher, which ends it. This is for a watcher that cannot:
code that never lets the interpreter go, a process that was stopped. Such a replica gets no calls
while others answer, is taken back when it answers again, and is ended when it never does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dcf.control.isolation import Isolation
from dcf.control.view import ReplicaKey
from dcf.gateway.fleet import Fleet, Seen
from dcf.gateway.replicas import Replicas
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.protocol import http

logger = logging.getLogger("dcf.gateway")

MISSES = 2
"""Answers in a row that may be missing before calls go elsewhere: one may be a busy machine."""

LEAST_SILENCE = 4
"""Questions that must be without an answer before a replica is ended, however short its calls are:
a machine may stand still for a moment as well."""

_REQUEST = f"GET {http.HEALTH} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n".encode()


class Health:
    """Asks all of them, again and again."""

    def __init__(
        self,
        fleet: Fleet,
        replicas: Replicas,
        *,
        interval: float,
        silence: float,
        longest_call: Callable[[ReplicaKey], float],
        wake: Callable[[], None],
    ) -> None:
        """Has asked nobody yet.

        Args:
            fleet: Knows who is ready, and is told who answers.
            replicas: Ends those that never answer again.
            interval: Seconds between two questions, and for each answer.
            silence: Seconds without an answer after which a replica is ended.
            longest_call: Seconds after which a replica's own watcher would end it because of one
                call. Where that is less than ``silence``, it counts: its callers wait no longer.
            wake: Called when one has stopped or begun to answer.
        """
        self._fleet = fleet
        self._replicas = replicas
        self._interval = interval
        self._silence = silence
        self._longest_call = longest_call
        self._wake = wake
        self._missed: dict[ReplicaId, int] = {}
        self._isolation = Isolation("checking the replicas")

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await self.look()

    async def look(self) -> None:
        """Asks everyone once."""
        ready = [one for one in self._fleet.all() if one.state is ReplicaState.READY]
        answers = await asyncio.gather(*(answers_at(one.endpoint, self._interval) for one in ready))
        self._missed = {one.id: self._missed.get(one.id, 0) for one in ready}
        for one, has_answered in zip(ready, answers, strict=True):
            with self._isolation.of(one.key.function):
                self._take(one, has_answered=has_answered)

    def _take(self, one: Seen, *, has_answered: bool) -> None:
        if one.state is not ReplicaState.READY:
            return  # it has ended meanwhile
        missed = self._missed[one.id] = 0 if has_answered else self._missed[one.id] + 1
        least = LEAST_SILENCE * self._interval
        silence = min(self._silence, max(least, self._longest_call(one.key)))
        if missed * self._interval >= silence:
            sentence = f"it did not answer for {silence:g} s"
            logger.error("%s is ended: %s", one.id, sentence)
            self._replicas.end(one, sentence)
            self._wake()
        elif one.answers != (missed < MISSES):
            one.answers = missed < MISSES
            logger.warning("%s %s", one.id, "answers again" if one.answers else "does not answer")
            self._wake()


async def answers_at(endpoint: str, patience: float) -> bool:
    """Whether a watcher answers.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        patience: Seconds for the answer.
    """
    try:
        async with asyncio.timeout(patience):
            kind, _, rest = endpoint.partition(":")
            if kind == "unix":
                reader, writer = await asyncio.open_unix_connection(rest)
            else:
                host, _, port = rest.rpartition(":")
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(_REQUEST)
                return bool(await reader.readline())
            finally:
                writer.transport.abort()
    except (OSError, ValueError, OverflowError):  # a line without end, a port that is none
        return False
