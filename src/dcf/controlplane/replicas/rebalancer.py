"""Moves calls whose handlers have not begun from busy replicas to idle ones.

Envoy sends a call to the replica that is least busy at that moment. A replica that becomes ready
later, or finishes sooner than expected, would be idle beside a queue. Then the watcher of the busy
replica hands calls back, and Envoy sends each of them to the least busy replica.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from dcf.controlplane.activation.traffic_poller import TrafficPoller
from dcf.controlplane.replicas.replica_api import ReplicaLoad, load
from dcf.controlplane.replicas.replica_registry import ReplicaRecord, ReplicaRegistry
from dcf.model.replica import ReplicaState

INTERVAL = 0.5
"""Seconds between two comparisons of a function's replicas. Functions without calls, or with a
single replica, cost nothing."""


class Rebalancer:
    """Compares the replicas of each function that is called."""

    def __init__(self, registry: ReplicaRegistry, poller: TrafficPoller) -> None:
        """Create a rebalancer.

        Args:
            registry: The replicas.
            poller: Knows which functions have calls in progress.
        """
        self._registry = registry
        self._poller = poller

    async def run(self) -> None:
        """Move calls until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.rebalance()

    async def rebalance(self) -> None:
        """Compare all replicas once, and move the calls that can move."""
        called = {name for name, traffic in self._poller.latest().items() if traffic.in_flight}
        groups: dict[tuple[str, int], list[ReplicaRecord]] = defaultdict(list)
        for replica in self._registry.all():
            key = replica.key
            if key.function in called and replica.state is ReplicaState.READY and replica.answers:
                # Balance within a revision only: the owner sets the share of each revision.
                groups[key.function, key.revision].append(replica)
        await asyncio.gather(*(_level(group) for group in groups.values() if len(group) > 1))


async def _level(replicas: Sequence[ReplicaRecord]) -> None:
    answers = await asyncio.gather(*(load(replica.endpoint) for replica in replicas))
    loads = [(replica, answer) for replica, answer in zip(replicas, answers, strict=True) if answer]
    surplus = surpluses([answer for _, answer in loads])
    await asyncio.gather(
        *(
            load(replica.endpoint, hand_back=count)
            for (replica, _), count in zip(loads, surplus, strict=True)
            if count
        )
    )


def surpluses(loads: Sequence[ReplicaLoad]) -> list[int]:
    """Return how many waiting calls each replica should hand back.

    No replica falls below its share of all calls, so that calls do not move back and forth.

    Args:
        loads: The loads of all replicas of one revision.
    """
    total = sum(own.calls for own in loads)
    capacity = sum(own.concurrency for own in loads) or 1
    shares = [-(-total * own.concurrency // capacity) for own in loads]
    room = sum(max(0, share - own.calls) for own, share in zip(loads, shares, strict=True))
    counts = []
    for own, share in zip(loads, shares, strict=True):
        count = min(own.waiting, max(0, own.calls - share), room)
        room -= count
        counts.append(count)
    return counts
