"""Health checks of ready replicas.

A watcher detects a handler that hangs and ends it. These checks are for a watcher that cannot do
so, because code holds the interpreter's lock or the process is stopped. Such a replica gets no
calls while others answer, and gets calls again once it answers. It is ended if it stays silent: a
stopped process after ``silence``, any other one once its longest call is overdue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from dcf.catalog.isolation import Isolation
from dcf.client.address import of_endpoint
from dcf.client.fetch import Fetch, async_responds
from dcf.client.timeout import Timeout
from dcf.controlplane.replicas.replica_manager import ReplicaManager
from dcf.controlplane.replicas.replica_registry import ReplicaRecord, ReplicaRegistry
from dcf.errors import GatewayUnreachable
from dcf.model.observed import ReplicaKey
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.protocol import http

logger = logging.getLogger("dcf.controlplane")

MISSES = 2
"""Failed checks in a row after which calls go to other replicas. 2: a busy machine may miss one."""

LEAST_SILENCE = 4
"""Minimum number of failed checks before a replica is ended, however short its calls are: the
whole machine may pause for a moment."""


class Health:
    """Polls every ready replica, each in a separate task."""

    def __init__(
        self,
        registry: ReplicaRegistry,
        replicas: ReplicaManager,
        *,
        interval: float,
        silence: float,
        longest_call: Callable[[ReplicaKey], float],
        wake: Callable[[], None],
    ) -> None:
        """Create health checks that have not polled any replica.

        Args:
            registry: The replicas. Their ``answers`` is updated.
            replicas: Ends replicas that stay silent.
            interval: Seconds between two checks, and the timeout of each.
            silence: Seconds without an answer after which a stopped process is ended.
            longest_call: Seconds after which a replica's own watcher would end it because of one
                call. A process that is not stopped is ended after this time. So is a stopped one,
                if this is less than ``silence``, because its callers do not wait longer.
            wake: Called when a replica has stopped or begun to answer.
        """
        self._registry = registry
        self._replicas = replicas
        self._interval = interval
        self._silence = silence
        self._longest_call = longest_call
        self._wake = wake
        self._watches: dict[ReplicaId, asyncio.Task[None]] = {}
        self._isolation = Isolation("checking the replicas")

    async def run(self) -> None:
        """Check all ready replicas until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                self._follow_registry()
        finally:
            for watch in self._watches.values():
                watch.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)

    def _follow_registry(self) -> None:
        ready = {
            record.id: record
            for record in self._registry.all()
            if record.state is ReplicaState.READY
        }
        for replica, watch in list(self._watches.items()):
            if watch.done():
                del self._watches[replica]
                with self._isolation.of(replica.partition(".")[0]):
                    watch.result()  # if the replica is still ready, a new task is started for it
        for replica, record in ready.items():
            if replica not in self._watches:
                self._watches[replica] = asyncio.create_task(self._watch(record))

    async def _watch(self, record: ReplicaRecord) -> None:
        """Poll one replica while it is ready."""
        answered, missed = time.monotonic(), 0
        while record.state is ReplicaState.READY:
            asked = time.monotonic()
            if await answers_at(record.endpoint, self._interval):
                answered, missed = asked, 0
            else:
                missed += 1
            late = time.monotonic() - asked - self._interval
            if late > self._interval:
                # This process itself was stopped or delayed; the replica is not at fault.
                answered += late
            if record.state is ReplicaState.READY:
                await self._judge(record, time.monotonic() - answered, missed)
            await asyncio.sleep(max(0.0, asked + self._interval - time.monotonic()))

    async def _judge(self, record: ReplicaRecord, silence: float, missed: int) -> None:
        answers = missed < MISSES
        if record.answers != answers:
            record.answers = answers
            logger.warning("%s %s", record.id, "answers again" if answers else "does not answer")
            self._wake()
        longest = max(LEAST_SILENCE * self._interval, self._longest_call(record.key))
        limit = min(self._silence, longest)
        if answers or silence < limit:
            return
        is_suspended = await self._replicas.is_suspended(record)
        if not is_suspended and silence < longest:
            return
        if is_suspended:
            sentence = f"it did not answer for {limit:g} s, and its process is stopped"
        else:
            sentence = f"it did not answer for {longest:g} s"
        logger.error("%s is ended: %s", record.id, sentence)
        self._replicas.stop_silent(record, sentence, is_suspended=is_suspended)
        self._wake()


async def answers_at(endpoint: str, patience: float) -> bool:
    """Return whether a watcher answers.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        patience: Timeout in seconds.
    """
    try:
        address = of_endpoint(endpoint)
    except GatewayUnreachable:
        return False
    return await async_responds(address, Fetch(http.HEALTH), Timeout(total=patience))
