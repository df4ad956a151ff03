"""How soon a replica that ended is replaced, told from the ends of those before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dcf.model.observed import Observed
from dcf.model.replica import ReplicaExit


@dataclass(frozen=True, slots=True)
class BackoffRules:
    """The numbers behind a turn.

    Attributes:
        stable: Seconds that a replica must have been ready so that its end is no quick one. 10:
            longer than a request that kills it takes to come again, shorter than people watch.
        first_delay: Seconds before the second start after a quick end; each further quick end
            doubles it. 0.5: a slip is mended before anyone notices.
        longest_delay: Seconds. 60: a function that was mended from outside (a missing file, a
            database that was down) is back within a minute.
        loop: Quick ends in a row that make a crash loop. 3: two may be chance.
        memory: Ended replicas that are remembered for one slot. 8: as many as it takes to reach
            ``longest_delay``.
        grace: Seconds that the calls of a replica which is no longer wanted may take. 30, as the
            watcher's own drain.
        grace_of_start: Seconds for one that was not ready yet and so has no calls.
    """

    stable: float = 10.0
    first_delay: float = 0.5
    longest_delay: float = 60.0
    loop: int = 3
    memory: int = 8
    grace: float = 30.0
    grace_of_start: float = 2.0


RULES = BackoffRules()
"""The rules in force."""


def crash(observed: Observed) -> ReplicaExit | None:
    """How a replica failed, or ended though nobody had asked it to; else None."""
    exit_ = observed.exit
    return None if exit_ is None or exit_.asked else exit_


def crashes_of_slot(replicas: Iterable[Observed], revision: int, slot: int) -> list[Observed]:
    """Those that crashed in a slot, the last one first."""
    found = (
        one
        for one in replicas
        if one.key.revision == revision and one.key.slot == slot and crash(one)
    )
    return sorted(found, key=lambda one: one.key.attempt, reverse=True)


def streak(crashes: Iterable[Observed], rules: BackoffRules) -> int:
    """How many ended quickly, one after another, up to the last one.

    Args:
        crashes: The last one first.
        rules: What is quick.
    """
    count = 0
    for one in crashes:
        exit_ = crash(one)
        lasted = exit_ and one.ready_at is not None and exit_.at - one.ready_at >= rules.stable
        if lasted:
            break
        count += 1
    return count


def due(crashes: list[Observed], now: float, rules: BackoffRules) -> float:
    """When the next start may be, in seconds since the epoch.

    Args:
        crashes: Of one slot, the last one first.
        now: Seconds since the epoch.
        rules: How long to wait.
    """
    last = crash(crashes[0]) if crashes else None
    in_row = streak(crashes, rules)
    if last is None or in_row == 0 or last.at > now:  # an end to come: the clock was set back
        return now
    doubled = rules.first_delay * float(1 << (in_row - 1))
    return last.at + min(rules.longest_delay, doubled)
