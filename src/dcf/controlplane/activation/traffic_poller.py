"""How often functions were called: Envoy counts, the catalog keeps."""

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
"""Seconds between two looks: what is counted and not yet kept is lost when Envoy is killed."""

FRESH = 0.1
"""Seconds within which a look counts as new."""

PATIENCE = 2.0
"""Seconds that Envoy may take to answer."""


class TrafficPoller:
    """Follows Envoy's counters, which begin at nought whenever it is started."""

    def __init__(self, catalog: Catalog, admin: Path) -> None:
        """Has counted nothing yet.

        Args:
            catalog: Keeps the counts.
            admin: Envoy's own socket.
        """
        self._catalog = catalog
        self._admin = admin
        self._traffic: Mapping[str, Traffic] = {}
        self._kept: dict[str, int] | None = None
        self._looked = 0.0
        self._turn = asyncio.Lock()
        self._isolation = Isolation("counting the calls")

    async def run(self) -> None:
        """Counts until it is cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            # One invalid number must neither end the counting nor flood the log.
            with self._isolation.of("all functions"):
                await self.look()

    def latest(self) -> Mapping[str, Traffic]:
        """Return what Envoy had counted at the last poll, by function."""
        return self._traffic

    async def look(self) -> Mapping[str, Traffic]:
        """What Envoy has counted by now, by function; what is new of it the catalog has then.

        A disk that is full keeps nobody from looking: what could not be kept is, later.
        """
        async with self._turn:
            if time.monotonic() - self._looked > FRESH:
                try:
                    now = await asyncio.to_thread(statistics.fetch, self._admin, PATIENCE)
                except EnvoyFailed:
                    return self._traffic  # it is being started again
                now = {name: _steady(self._traffic.get(name), one) for name, one in now.items()}
                try:
                    await self._keep(now)
                except StorageError as error:
                    logger.warning("calls are counted later: %s", error)
                self._traffic, self._looked = now, time.monotonic()
        return self._traffic

    async def _keep(self, now: Mapping[str, Traffic]) -> None:
        calls = {name: one.calls for name, one in now.items()}
        if self._kept is None:
            # An Envoy that was here before this process: what it counted so far was kept by the
            # process before, all but its last moment.
            self._kept = calls
            return
        before = self._kept
        more = {
            # A counter that has gone back belongs to an Envoy that was started anew.
            name: count - before.get(name, 0) if count >= before.get(name, 0) else count
            for name, count in calls.items()
        }
        more = {name: count for name, count in more.items() if count}
        if more:
            await asyncio.to_thread(self._count, more)
        self._kept = calls

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
