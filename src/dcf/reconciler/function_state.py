"""The state of a function for its users: a pure function of desired and observed state."""

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
    """The state of a function, and the numbers behind it.

    Attributes:
        state: The state.
        takes_calls: Whether a ready replica accepts calls, possibly one of the previous revision.
        ready: Number of ready replicas of the current revision.
        serving: The revision that serves calls; None if none does.
        last_crash: The latest crash of the current revision; None if there is no recent one. It is
            the reason of NOT_READY and CRASH_LOOP.
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
    """Return the condition of a function.

    Args:
        wanted: Its desired state; None if it is not deployed.
        replicas: Its replicas.
        rules: Define a crash loop.

    Returns:
        None if the function is not deployed and has no running replica.
    """
    own = list(replicas)
    if wanted is None:
        alive = any(replica.state is not ReplicaState.EXITED for replica in own)
        return _DELETING if alive else None
    by_revision = [replica.key.revision for replica in own if replica.state is ReplicaState.READY]
    ready = min(by_revision.count(wanted.revision), wanted.replicas)
    serving = wanted.revision if ready else max(by_revision, default=None)
    if not wanted.replicas:
        serving = None
    crashes = [
        exit_
        for replica in own
        if replica.key.revision == wanted.revision and (exit_ := crash(replica))
    ]
    last = max(crashes, key=lambda exit_: exit_.at, default=None)
    state = _state(wanted, ready, own, rules) if ready < wanted.replicas else FunctionState.READY
    if not wanted.replicas:
        state = FunctionState.IDLE
    return Condition(state, serving is not None, ready, serving, last)


def _state(wanted: Wanted, ready: int, own: list[Observed], rules: BackoffRules) -> FunctionState:
    """Return the state of a function that has fewer ready replicas than desired."""
    if ready:
        return FunctionState.DEGRADED
    slots = {replica.key.slot for replica in own}
    crashes = [crashes_of_slot(own, wanted.revision, slot) for slot in slots]
    if any(streak(of_slot, rules) >= rules.loop for of_slot in crashes):
        return FunctionState.CRASH_LOOP
    return FunctionState.NOT_READY if any(crashes) else FunctionState.DEPLOYING
