"""When a process that ended is started again: pure arithmetic, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait between starts, and when to give up.

    Attributes:
        first: Seconds before the start that follows the first short run. 0.1: nobody notices, and
            a process that cannot run does not take a whole core.
        factor: What each further short run in a row multiplies the delay by.
        ceiling: Seconds that no delay exceeds. 30: somebody who mended the cause need not wait
            longer.
        settled: Seconds after which a run counts as good, and what was before is forgotten. 10:
            longer than any start that fails.
        limit: Short runs in a row that are followed by another start; one more is a crash loop.
            8: half a minute in all. None never gives up.
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
        started: Seconds, on any clock.
        ended: Seconds, on the same clock.
    """

    started: float
    ended: float


def delay_after(runs: Sequence[Run], policy: RestartPolicy) -> float | None:
    """How long to wait before the next start.

    Args:
        runs: Earlier runs, the latest last; only the last ones in a row that were short matter.
        policy: What to go by.

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
    # Past sixty doublings every ceiling is reached, and a float is not yet exceeded.
    growth = float(policy.factor ** min(short - 1, 60))
    return min(policy.first * growth, policy.ceiling)


def remembered(policy: RestartPolicy) -> int:
    """How many runs must be kept for :func:`delay_after`."""
    return 64 if policy.limit is None else policy.limit + 1
