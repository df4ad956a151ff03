"""How many replicas follow from how much is asked of a function. Pure: time is passed in.

One replica is to have ``target`` calls under way. More replicas come as soon as two looks in a row
ask for them together; fewer only when none of the looks of the last half minute asked for more.
So load that goes up and down quickly is served by what its peaks need, and nothing flaps.
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
"""Calls under way in one replica, where neither ``scaling.target`` nor ``concurrency`` is set: what
a plain handler takes at a time."""


@dataclass(frozen=True, slots=True)
class AutoscaleRules:
    """The numbers behind a decision.

    Attributes:
        memory: Seconds that fewer calls must have lasted before a replica goes. 30: starting one
            may take as long, and a pause between two bursts is often shorter.
        lacking: Part of a replica that may be lacking. 0.1: a load that just fills its replicas
            must not bring another one by chance.
        spare: Part of a replica that must be left over where one goes. 0.3: or it would be missed
            at the next small wave.
    """

    memory: float = 30.0
    lacking: float = 0.1
    spare: float = 0.3


RULES = AutoscaleRules()
"""The rules in force."""


@dataclass(frozen=True, slots=True)
class Load:
    """One look at a function.

    Attributes:
        at: When, in seconds of any clock that only goes forward.
        under_way: Calls under way, on average since the look before.
        held: Calls that wait for a first replica now.
    """

    at: float
    under_way: float
    held: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody called."""
        return not self.under_way and not self.held


def decide(
    scaling: Scaling,
    target: float,
    loads: Sequence[Load],
    busy_at: float,
    rules: AutoscaleRules = RULES,
) -> int:
    """The number of replicas that a function is to have.

    Args:
        scaling: Its bounds.
        target: Calls under way that one replica is to have, above 0.
        loads: The looks, oldest first, at least one; of those older than ``rules.memory`` the last
            one counts as what was before.
        busy_at: When somebody called last, by the clock of ``loads``.
        rules: The numbers to go by.
    """
    now = loads[-1].at
    asked = 0.0
    for before, load in pairwise((loads[0], *loads)):
        if now - load.at <= rules.memory:
            under_way = (before.under_way + load.under_way) / 2
            asked = max(asked, (under_way + load.held) / target)
    # At rest it stays until somebody calls, also where nobody has watched for long enough.
    at_rest = not scaling.replicas and not asked
    if not scaling.minimum and (at_rest or now - busy_at >= scaling.idle):
        return scaling.autoscaled(0).replicas
    needed, enough = math.ceil(asked - rules.lacking), math.ceil(asked + rules.spare)
    return scaling.autoscaled(max(1, needed, min(enough, scaling.replicas))).replicas


def worked(before: Latency, after: Latency, period: float) -> float:
    """Seconds of a period that calls which ended in it took, all of them together.

    A call counts for no longer than the period; for the rest of its time it was seen under way.

    Args:
        before: What was counted at the period's beginning.
        after: What was counted at its end.
        period: Seconds.
    """
    total, lower, shorter = 0.0, 0.0, 0
    for upper, count in sorted(after.buckets.items()):
        ended = count - before.buckets.get(upper, 0)
        middle = (lower + upper) / 2 if math.isfinite(upper) else lower
        total += max(0, ended - shorter) * min(middle, period)
        lower, shorter = upper, ended
    return total


def target_of(record: FunctionRecord) -> float:
    """Calls under way at a time that one replica of a function is to have."""
    return record.scaling.target or float(record.current.spec.concurrency or DEFAULT_TARGET)
