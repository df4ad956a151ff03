"""How a function is, as its users see it. A pure function of what is wanted and seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dcf.model.desired import Wanted
from dcf.model.observed import Observed
from dcf.model.replica import ReplicaExit, ReplicaState
from dcf.model.status import FunctionState
from dcf.reconciler.backoff import RULES, BackoffRules, crash, crashes_of_slot, streak


@dataclass(frozen=True, slots=True)
class Condition:
    """A function's state and the figures behind it.

    Attributes:
        state: Where it is.
        takes_calls: Whether a ready replica takes calls now, be it of the revision before.
        ready: Ready replicas of the current revision.
        serving: The revision that takes the calls; None when none does.
        last_crash: How the current revision's replica that crashed last ended; None when none
            crashed of late. It says why a state is NOT_READY or CRASH_LOOP.
    """

    state: FunctionState
    takes_calls: bool
    ready: int
    serving: int | None
    last_crash: ReplicaExit | None


_DELETING = Condition(
    FunctionState.DELETING, takes_calls=False, ready=0, serving=None, last_crash=None
)


def condition(
    wanted: Wanted | None, replicas: Iterable[Observed], rules: BackoffRules = RULES
) -> Condition | None:
    """How a function is.

    Args:
        wanted: What it is to be; None when it is not deployed.
        replicas: Those of this function.
        rules: What makes a crash loop.

    Returns:
        None for a function that is neither deployed nor has living replicas.
    """
    own = list(replicas)
    if wanted is None:
        alive = any(one.state is not ReplicaState.EXITED for one in own)
        return _DELETING if alive else None
    by_revision = [one.key.revision for one in own if one.state is ReplicaState.READY]
    ready = min(by_revision.count(wanted.revision), wanted.replicas)
    serving = wanted.revision if ready else max(by_revision, default=None)
    if not wanted.replicas:
        serving = None
    crashes = [
        exit_ for one in own if one.key.revision == wanted.revision and (exit_ := crash(one))
    ]
    last = max(crashes, key=lambda exit_: exit_.at, default=None)
    state = _state(wanted, ready, own, rules) if ready < wanted.replicas else FunctionState.READY
    if not wanted.replicas:
        state = FunctionState.IDLE
    return Condition(state, serving is not None, ready, serving, last)


def _state(wanted: Wanted, ready: int, own: list[Observed], rules: BackoffRules) -> FunctionState:
    """The state of a function that has fewer ready replicas than it is to have."""
    if ready:
        return FunctionState.DEGRADED
    slots = {one.key.slot for one in own}
    crashes = [crashes_of_slot(own, wanted.revision, slot) for slot in slots]
    if any(streak(of_slot, rules) >= rules.loop for of_slot in crashes):
        return FunctionState.CRASH_LOOP
    return FunctionState.NOT_READY if any(crashes) else FunctionState.DEPLOYING
