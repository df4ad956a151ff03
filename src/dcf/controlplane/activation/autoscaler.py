"""Scale functions by their load."""

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
class _LoadHistory:
    """The recent load of one function.

    Attributes:
        busy_at: Time of the last call.
        loads: Recent samples.
        calls: Calls that Envoy had counted at the last sample.
        latency: Durations that Envoy had counted at the last sample.
    """

    busy_at: float
    loads: deque[Load] = field(default_factory=deque)
    calls: int = 0
    latency: Latency = field(default_factory=Latency)


class Autoscaler:
    """Sets the number of replicas of every function that is scaled automatically.

    The load is not stored: after a restart of the control plane, no function counts as idle before
    it has been observed for the whole idle period.
    """

    def __init__(
        self,
        catalog: Catalog,
        poller: TrafficPoller,
        *,
        held: Callable[[], Mapping[str, int]],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        rules: AutoscaleRules = RULES,
    ) -> None:
        """Create an autoscaler without observations.

        Args:
            catalog: Contains the limits, and stores decisions.
            poller: Counts calls.
            held: Returns the number of held calls, by function.
            wake: Called after a decision.
            clock: Monotonic seconds.
            rules: Parameters of the decision.
        """
        self._catalog = catalog
        self._poller = poller
        self._held = held
        self._wake = wake
        self._clock = clock
        self._rules = rules
        self._watched: dict[str, _LoadHistory] = {}
        self._isolation = Isolation("scaling")

    async def run(self) -> None:
        """Scale once per period until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.scale_all()
            except StorageError as error:
                logger.warning("scaling failed, retrying: %s", error)
            except Exception:
                logger.exception("scaling failed (a bug in the gateway), retrying")

    async def scale_all(self) -> None:
        """Sample the load of all functions once, and scale them.

        Raises:
            StorageError: If the catalog cannot be read or written.
        """
        traffic = await self._poller.poll()
        records = await asyncio.to_thread(self._catalog.scalable)
        now, held = self._clock(), self._held()
        self._watched = {
            record.name: self._watched.get(record.name) or _LoadHistory(now) for record in records
        }
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
        await self._apply(record, replicas, f"{load.under_way + load.held:.3g} calls in progress")

    async def activate(self, name: str) -> None:
        """Start a first replica of a function, because a call waits for it.

        Raises:
            FunctionNotFound: If the function does not exist.
            StorageError: If the catalog cannot be read or written.
        """
        record = await asyncio.to_thread(self._catalog.function, name)
        now = self._clock()
        watched = self._watched.setdefault(name, _LoadHistory(now))
        watched.busy_at = now
        if not record.scaling.replicas:
            await self._apply(record, 1, "a call is waiting")

    def _under_way(self, watched: _LoadHistory, traffic: Traffic, now: float) -> float:
        """Return the average number of calls in progress since the previous sample.

        It is 0 only if there was no call at all.
        """
        calls, latency = watched.calls, watched.latency
        watched.calls, watched.latency = traffic.calls, traffic.latency
        if not watched.loads:
            return float(traffic.in_flight + traffic.waiting)
        if traffic.calls < calls:  # Envoy was restarted
            calls, latency = 0, Latency()
        period = max(now - watched.loads[-1].at, 0.001)
        ended = worked(latency, traffic.latency, period) / period
        under_way = max(float(traffic.in_flight + traffic.waiting), ended)
        # A function with calls is not idle, even if the calls are too short to be measured.
        return under_way if under_way or traffic.calls == calls else 1e-6

    def _remember(self, watched: _LoadHistory, load: Load) -> None:
        watched.loads.append(load)
        while len(watched.loads) > 1 and load.at - watched.loads[1].at > self._rules.memory:
            watched.loads.popleft()
        if not load.is_idle:
            watched.busy_at = load.at

    async def _apply(self, record: FunctionRecord, replicas: int, reason: str) -> None:
        if replicas == record.scaling.replicas:
            return
        try:
            after = await asyncio.to_thread(self._catalog.decide, record.name, replicas, reason)
        except FunctionNotFound:
            return  # deleted meanwhile
        if after.replicas != record.scaling.replicas:
            logger.info("%s: scaled to %d replicas, %s", record.name, after.replicas, reason)
            self._wake()
