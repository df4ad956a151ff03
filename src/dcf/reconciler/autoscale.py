"""Decide how many replicas a function needs for its load. A pure function; time is an argument.

Each replica should have ``target`` calls in progress. The number rises with the average of two
successive samples. It falls only if no sample of the last ``memory`` seconds needed more. So a
function with a quickly changing load keeps enough replicas for its peaks, and does not flap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dcf.model.revision import FunctionRecord
from dcf.model.scaling import Scaling
from dcf.model.traffic import Latency

DEFAULT_TARGET = 1.0
"""Calls in progress for each replica if neither ``scaling.target`` nor ``concurrency`` is set. 1: a
plain handler runs one call at a time."""


@dataclass(frozen=True, slots=True)
class AutoscaleRules:
    """Parameters of a decision.

    Attributes:
        memory: Seconds of lower load before a replica is removed. 30: a start may take as long, and
            pauses between bursts are often shorter.
        lacking: Fraction of a replica that may be missing before one is added. 0.1: small
            fluctuations of a load that just fills its replicas must not add one.
        spare: Fraction of a replica that must be left over after one is removed. 0.3: otherwise the
            next small rise would need it again.
    """

    memory: float = 30.0
    lacking: float = 0.1
    spare: float = 0.3


RULES = AutoscaleRules()
"""The default rules."""


@dataclass(frozen=True, slots=True)
class Load:
    """A sample of a function's load.

    Attributes:
        at: Time of the sample, in monotonic seconds.
        under_way: Average number of calls in progress since the previous sample.
        held: Calls that wait for a first replica.
    """

    at: float
    under_way: float
    held: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether there was no call."""
        return not self.under_way and not self.held


def decide(
    scaling: Scaling,
    target: float,
    loads: Sequence[Load],
    busy_at: float,
    rules: AutoscaleRules = RULES,
) -> int:
    """Return the number of replicas that a function should have.

    Args:
        scaling: Its limits and current number.
        target: Calls in progress for each replica, above 0.
        loads: Samples, oldest first, at least one. Of those older than ``rules.memory``, the last
            one is the predecessor of the first that counts.
        busy_at: Time of the last call, by the clock of ``loads``.
        rules: Parameters.
    """
    now = loads[-1].at
    asked = 0.0
    for before, load in pairwise((loads[0], *loads)):
        if now - load.at <= rules.memory:
            under_way = (before.under_way + load.under_way) / 2
            asked = max(asked, (under_way + load.held) / target)
    # A function at zero stays there until a call, even if it was not observed for long enough.
    at_rest = not scaling.replicas and not asked
    if not scaling.minimum and (at_rest or now - busy_at >= scaling.idle):
        return scaling.autoscaled(0).replicas
    needed, enough = math.ceil(asked - rules.lacking), math.ceil(asked + rules.spare)
    return scaling.autoscaled(max(1, needed, min(enough, scaling.replicas))).replicas


def worked(before: Latency, after: Latency, period: float) -> float:
    """Return the total duration in seconds, within a period, of the calls that ended in it.

    A call counts for at most the period. Before that, earlier samples saw it in progress.

    Args:
        before: Counters at the beginning of the period.
        after: Counters at its end.
        period: Length in seconds.
    """
    total, lower, shorter = 0.0, 0.0, 0
    for upper, count in sorted(after.buckets.items()):
        ended = count - before.buckets.get(upper, 0)
        middle = (lower + upper) / 2 if math.isfinite(upper) else lower
        total += max(0, ended - shorter) * min(middle, period)
        lower, shorter = upper, ended
    return total


def target_of(record: FunctionRecord) -> float:
    """Return the number of calls in progress that each replica of a function should have."""
    return record.scaling.target or float(record.current.spec.concurrency or DEFAULT_TARGET)
