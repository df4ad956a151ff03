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

    def __init__(self, fleet: ReplicaRegistry, counting: TrafficPoller) -> None:
        """Create a rebalancer.

        Args:
            fleet: Knows the ready replicas.
            counting: Knows which functions have calls in progress.
        """
        self._fleet = fleet
        self._counting = counting

    async def run(self) -> None:
        """Move calls until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.rebalance()

    async def rebalance(self) -> None:
        """Compare all replicas once, and move the calls that can move."""
        called = {name for name, traffic in self._counting.latest().items() if traffic.in_flight}
        groups: dict[tuple[str, int], list[ReplicaRecord]] = defaultdict(list)
        for replica in self._fleet.all():
            key = replica.key
            if key.function in called and replica.state is ReplicaState.READY and replica.answers:
                # Balance within a revision only: the owner sets the share of each revision.
                groups[key.function, key.revision].append(replica)
        await asyncio.gather(*(_level(group) for group in groups.values() if len(group) > 1))


async def _level(replicas: Sequence[ReplicaRecord]) -> None:
    answers = await asyncio.gather(*(load(one.endpoint) for one in replicas))
    loads = [(one, answer) for one, answer in zip(replicas, answers, strict=True) if answer]
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
    total = sum(one.calls for one in loads)
    capacity = sum(one.concurrency for one in loads) or 1
    shares = [-(-total * one.concurrency // capacity) for one in loads]
    room = sum(max(0, share - one.calls) for one, share in zip(loads, shares, strict=True))
    found = []
    for one, share in zip(loads, shares, strict=True):
        count = min(one.waiting, max(0, one.calls - share), room)
        room -= count
        found.append(count)
    return found
