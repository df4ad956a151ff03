"""Watches how much is asked of the functions, and has the catalog want replicas accordingly."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import Isolation
from dcf.controlplane.activation.traffic_poller import PERIOD, TrafficPoller
from dcf.errors import FunctionNotFound, StorageError
from dcf.model.revision import FunctionRecord
from dcf.model.traffic import Latency, Traffic
from dcf.reconciler.autoscale import RULES, AutoscaleRules, Load, decide, target_of, worked

logger = logging.getLogger("dcf.controlplane")


@dataclass(slots=True)
class _Watched:
    """What is remembered of one function.

    Attributes:
        busy_at: When somebody called last.
        loads: The looks of late.
        calls: Counted by Envoy at the last look.
        latency: As it was then.
    """

    busy_at: float
    loads: deque[Load] = field(default_factory=deque)
    calls: int = 0
    latency: Latency = field(default_factory=Latency)


class Autoscaler:
    """Decides for every function that may have more or fewer replicas than it has.

    Nothing here must last: a control plane that was killed watches anew, and takes nobody for idle
    before it has seen so for long enough.
    """

    def __init__(
        self,
        catalog: Catalog,
        counting: TrafficPoller,
        *,
        held: Callable[[], Mapping[str, int]],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        rules: AutoscaleRules = RULES,
    ) -> None:
        """Has seen nothing yet.

        Args:
            catalog: Says what is allowed, and takes decisions.
            counting: Looks at Envoy.
            held: Tells how many calls wait for a first replica, by function.
            wake: Called when a decision was taken.
            clock: Seconds; goes only forward.
            rules: The numbers to go by.
        """
        self._catalog = catalog
        self._counting = counting
        self._held = held
        self._wake = wake
        self._clock = clock
        self._rules = rules
        self._watched: dict[str, _Watched] = {}
        self._isolation = Isolation("scaling")

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.look()
            except StorageError as error:
                logger.warning("nothing was scaled: %s", error)
            except Exception:
                logger.exception("nothing was scaled, by a defect of the gateway")

    async def look(self) -> None:
        """Looks once, and decides.

        Raises:
            StorageError: When the catalog cannot be read or written.
        """
        traffic = await self._counting.look()
        records = await asyncio.to_thread(self._catalog.scalable)
        now, held = self._clock(), self._held()
        self._watched = {one.name: self._watched.get(one.name) or _Watched(now) for one in records}
        self._isolation.keep_only(self._watched)
        for record in records:
            if self._isolation.rests(record.name):
                continue
            # A disk error concerns all functions.
            with self._isolation.of(record.name, but=StorageError):
                await self._decide(record, traffic.get(record.name), now, held)

    async def _decide(
        self,
        record: FunctionRecord,
        traffic: Traffic | None,
        now: float,
        held: Mapping[str, int],
    ) -> None:
        watched = self._watched[record.name]
        under_way = self._under_way(watched, traffic or Traffic(), now)
        load = Load(now, under_way, held.get(record.name, 0))
        self._remember(watched, load)
        replicas = decide(
            record.scaling, target_of(record), watched.loads, watched.busy_at, self._rules
        )
        await self._take(record, replicas, f"{load.under_way + load.held:.3g} calls under way")

    async def wanted(self, name: str) -> None:
        """Somebody waits for a first replica.

        Raises:
            FunctionNotFound: When there is no such function.
            StorageError: When the catalog cannot be read or written.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        now = self._clock()
        watched = self._watched.setdefault(name, _Watched(now))
        watched.busy_at = now
        if not record.scaling.replicas:
            await self._take(record, 1, "somebody calls")

    def _under_way(self, watched: _Watched, traffic: Traffic, now: float) -> float:
        """Calls under way since the look before; 0 when nobody called at all."""
        calls, latency = watched.calls, watched.latency
        watched.calls, watched.latency = traffic.calls, traffic.latency
        if not watched.loads:
            return float(traffic.in_flight + traffic.waiting)
        if traffic.calls < calls:  # Envoy was started anew
            calls, latency = 0, Latency()
        period = max(now - watched.loads[-1].at, 0.001)
        ended = worked(latency, traffic.latency, period) / period
        found = max(float(traffic.in_flight + traffic.waiting), ended)
        # Calls too short to be seen are calls.
        return found if found or traffic.calls == calls else 1e-6

    def _remember(self, watched: _Watched, load: Load) -> None:
        watched.loads.append(load)
        while len(watched.loads) > 1 and load.at - watched.loads[1].at > self._rules.memory:
            watched.loads.popleft()
        if not load.is_idle:
            watched.busy_at = load.at

    async def _take(self, record: FunctionRecord, replicas: int, reason: str) -> None:
        if replicas == record.scaling.replicas:
            return
        try:
            after = await asyncio.to_thread(self._catalog.decide, record.name, replicas, reason)
        except FunctionNotFound:
            return  # deleted meanwhile
        if after.replicas != record.scaling.replicas:
            logger.info("%s: %d replicas, %s", record.name, after.replicas, reason)
            self._wake()
