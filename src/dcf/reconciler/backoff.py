"""Delays before crashed replicas are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dcf.model.observed import Observed
from dcf.model.replica import ReplicaExit


@dataclass(frozen=True, slots=True)
class BackoffRules:
    """Parameters of a turn.

    Attributes:
        stable: Seconds that a replica must have been ready so that its crash does not count as a
            quick one. 10: longer than a retry of the crashing call takes, shorter than people wait.
        first_delay: Seconds before the start after a first quick crash. Each further quick crash
            doubles them. 0.5: a single crash is hardly noticed.
        longest_delay: Maximum delay in seconds. 60: after the cause is fixed (a missing file, a
            database that was down), the function is back within a minute.
        loop: Quick crashes in a row that count as a crash loop. 3: two may be a coincidence.
        memory: Number of crashed replicas that are remembered for each slot. 8: enough to reach
            ``longest_delay``.
        grace: Seconds for the calls of a replica that is no longer needed. 30, as the watcher's
            own drain.
        grace_of_start: Seconds for a replica that is not ready, and so has no calls.
    """

    stable: float = 10.0
    first_delay: float = 0.5
    longest_delay: float = 60.0
    loop: int = 3
    memory: int = 8
    grace: float = 30.0
    grace_of_start: float = 2.0


RULES = BackoffRules()
"""The default rules."""


def crash(observed: Observed) -> ReplicaExit | None:
    """Return how a replica failed, or exited without a request; None if it did neither."""
    exit_ = observed.exit
    return None if exit_ is None or exit_.asked else exit_


def crashes_of_slot(replicas: Iterable[Observed], revision: int, slot: int) -> list[Observed]:
    """Return the crashed replicas of a slot, the latest first."""
    crashed = (
        replica
        for replica in replicas
        if replica.key.revision == revision and replica.key.slot == slot and crash(replica)
    )
    return sorted(crashed, key=lambda replica: replica.key.attempt, reverse=True)


def streak(crashes: Iterable[Observed], rules: BackoffRules) -> int:
    """Return the number of quick crashes in a row, up to the latest.

    Args:
        crashes: Crashed replicas of one slot, the latest first.
        rules: Define a quick crash.
    """
    count = 0
    for replica in crashes:
        exit_ = crash(replica)
        ready_at = replica.ready_at
        was_stable = exit_ and ready_at is not None and exit_.at - ready_at >= rules.stable
        if was_stable:
            break
        count += 1
    return count


def due(crashes: list[Observed], now: float, rules: BackoffRules) -> float:
    """Return the earliest time of the next start, in seconds since the epoch.

    Args:
        crashes: Crashed replicas of one slot, the latest first.
        now: Seconds since the epoch.
        rules: Define the delays.
    """
    last = crash(crashes[0]) if crashes else None
    in_row = streak(crashes, rules)
    if last is None or in_row == 0 or last.at > now:  # in the future: the clock was set back
        return now
    doubled = rules.first_delay * float(1 << (in_row - 1))
    return last.at + min(rules.longest_delay, doubled)
