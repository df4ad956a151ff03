"""Read Envoy's counters of calls, and add them to the catalog."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import Isolation
from dcf.dataplane import statistics
from dcf.errors import EnvoyFailed, StorageError
from dcf.model.traffic import Traffic

logger = logging.getLogger("dcf.controlplane")

PERIOD = 1.0
"""Seconds between two polls. Calls since the last poll are not counted if Envoy is killed."""

FRESH = 0.1
"""Seconds for which the result of a poll is reused."""

PATIENCE = 2.0
"""Timeout of a poll in seconds."""


class TrafficPoller:
    """Polls Envoy's counters, which are reset when Envoy restarts."""

    def __init__(self, catalog: Catalog, admin: Path) -> None:
        """Create a poller that has not polled yet.

        Args:
            catalog: Stores the number of calls of each function.
            admin: Path of Envoy's administration socket.
        """
        self._catalog = catalog
        self._admin = admin
        self._traffic: Mapping[str, Traffic] = {}
        self._stored: dict[str, int] | None = None
        self._polled = 0.0
        self._lock = asyncio.Lock()
        self._isolation = Isolation("counting the calls")

    async def run(self) -> None:
        """Poll once per period until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            # One invalid number must neither end the counting nor flood the log.
            with self._isolation.of("all functions"):
                await self.poll()

    def latest(self) -> Mapping[str, Traffic]:
        """Return what Envoy had counted at the last poll, by function."""
        return self._traffic

    async def poll(self) -> Mapping[str, Traffic]:
        """Return Envoy's current counters by function, and add new calls to the catalog.

        If the disk is full, the counters are returned all the same; the calls are added to the
        catalog by a later poll.
        """
        async with self._lock:
            if time.monotonic() - self._polled > FRESH:
                try:
                    now = await asyncio.to_thread(statistics.fetch, self._admin, PATIENCE)
                except EnvoyFailed:
                    return self._traffic  # Envoy is being restarted
                now = {
                    name: _steady(self._traffic.get(name), traffic) for name, traffic in now.items()
                }
                try:
                    await self._store(now)
                except StorageError as error:
                    logger.warning("the counts of calls are stored later: %s", error)
                self._traffic, self._polled = now, time.monotonic()
        return self._traffic

    async def _store(self, now: Mapping[str, Traffic]) -> None:
        calls = {name: traffic.calls for name, traffic in now.items()}
        if self._stored is None:
            # Envoy may be older than this process. The previous control plane has stored these
            # calls, except those after its last poll.
            self._stored = calls
            return
        before = self._stored
        more = {
            # A smaller count means that Envoy was restarted.
            name: count - before.get(name, 0) if count >= before.get(name, 0) else count
            for name, count in calls.items()
        }
        more = {name: count for name, count in more.items() if count}
        if more:
            await asyncio.to_thread(self._count, more)
        self._stored = calls

    def _count(self, more: Mapping[str, int]) -> None:
        try:
            self._catalog.count_invocations(more)
        except StorageError:
            raise
        except Exception:  # noqa: BLE001  retry each alone to find the faulty one
            for name, count in more.items():
                with self._isolation.of(name):
                    self._catalog.count_invocations({name: count})


def _steady(before: Traffic | None, now: Traffic) -> Traffic:
    """Keep the number of calls from decreasing while Envoy is the same process."""
    if before is None or now.attempts < before.attempts or now.calls >= before.calls:
        return now
    return replace(now, calls=before.calls)
