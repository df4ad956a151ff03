"""Decides when to restart a process that has ended: pure arithmetic, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The delays between starts, and when to give up.

    Attributes:
        first: Seconds of delay after the first short run. 0.1: too short to notice, and a process
            that cannot run does not use a whole core.
        factor: Each further short run in a row multiplies the delay by this.
        ceiling: Maximum seconds of delay. 30: after a fix nobody waits longer.
        settled: Seconds after which a run counts as good and resets the delay. 10: longer than any
            start that fails.
        limit: Number of short runs in a row that are restarted; one more is a crash loop. 8: half a
            minute in all. None never gives up.
    """

    first: float = 0.1
    factor: float = 2.0
    ceiling: float = 30.0
    settled: float = 10.0
    limit: int | None = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a process, from start to exit.

    Attributes:
        started: Start time in seconds, on any clock.
        ended: End time in seconds, on the same clock.
    """

    started: float
    ended: float


def delay_after(runs: Sequence[Run], policy: RestartPolicy) -> float | None:
    """Return the delay before the next start.

    Args:
        runs: Earlier runs, the latest last; only the short runs in a row at the end matter.
        policy: The delays.

    Returns:
        Seconds; 0 after a good run. None in a crash loop.
    """
    short = 0
    for run in reversed(runs):
        if run.ended - run.started >= policy.settled:
            break
        short += 1
    if short == 0:
        return 0.0
    if policy.limit is not None and short > policy.limit:
        return None
    # After 60 doublings every ceiling is reached, and a float does not overflow yet.
    growth = float(policy.factor ** min(short - 1, 60))
    return min(policy.first * growth, policy.ceiling)


def remembered(policy: RestartPolicy) -> int:
    """Return how many runs :func:`delay_after` needs."""
    return 64 if policy.limit is None else policy.limit + 1
