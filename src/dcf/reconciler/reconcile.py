"""One turn of the control loop: from desired and observed state to actions.

A pure function. It keeps no state between turns, so a restarted control plane continues from what
it observes. For each function:

1. Record crashes, and forget exited replicas that no longer matter.
2. Route calls to the ready replicas of the current revision, and a share of them to those of the
   canary. While the current revision has no ready replica, route to the newest other one that has.
3. Stop replicas that are neither desired nor serving, once the data plane has confirmed that it
   sends no calls to them.
4. Start missing replicas, after a delay if they keep crashing, and within the maximum number of
   replicas that may run at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

from dcf.model.desired import Wanted
from dcf.model.event import Event, EventKind
from dcf.model.observed import Observed, ReplicaKey
from dcf.model.replica import ReplicaExit, ReplicaState
from dcf.reconciler.backoff import RULES, BackoffRules, crash, crashes_of_slot, due
from dcf.reconciler.types import (
    Action,
    ForgetReplica,
    PublishRoute,
    RecordEvent,
    Route,
    StartReplica,
    StopReplica,
    View,
    WithdrawRoute,
)

_NOWHERE = Route()


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The result of a turn.

    Attributes:
        actions: Actions, to be executed in this order.
        due: When the next turn is due even if nothing changes, in seconds since the epoch; None if
            nothing waits for a time.
        errors: Functions that could not be reconciled, and why. They stay unchanged.
    """

    actions: tuple[Action, ...]
    due: float | None
    errors: Mapping[str, Exception] = field(default_factory=dict)


def reconcile(
    wanted: Iterable[Wanted],
    view: View,
    now: float,
    rules: BackoffRules = RULES,
    unknown: Collection[str] = (),
) -> Reconciliation:
    """Decide what to do in one turn.

    Args:
        wanted: The desired state of every deployed function. Replicas of all other functions are
            removed.
        view: The observed state.
        now: Seconds since the epoch.
        rules: Parameters.
        unknown: Deployed functions whose record cannot be read. They stay unchanged.
    """
    by_function: dict[str, list[Observed]] = {}
    for replica in view.replicas:
        by_function.setdefault(replica.key.function, []).append(replica)
    deployed = {desired.function: desired for desired in wanted}
    names = sorted(deployed.keys() | by_function.keys() | view.published.keys())
    plans: list[_FunctionPlan] = []
    failed: dict[str, Exception] = {}
    for name in names:
        desired = deployed.get(name)
        if desired is not None and name not in by_function and _is_idle(desired, view):
            continue
        if name in unknown:
            continue
        plan = _FunctionPlan(by_function.get(name, []), view, now, rules)
        try:
            if desired is None:
                plan.delete(name)
            else:
                plan.keep(desired)
        except Exception as error:  # noqa: BLE001  one function's error must not affect others
            failed[name] = error
        else:
            plans.append(plan)
    due_times = [time for plan in plans for time in plan.due_times]
    actions = tuple(action for plan in plans for action in plan.actions)
    return Reconciliation(actions, min(due_times, default=None), failed)


def _is_idle(wanted: Wanted, view: View) -> bool:
    """Return whether a function without replicas needs none: a fast path for idle functions."""
    return (
        wanted.replicas + wanted.canaries == 0 and view.published.get(wanted.function) == _NOWHERE
    )


@dataclass(frozen=True, slots=True)
class _RevisionPlan:
    """The plan for a revision that should have replicas.

    Attributes:
        revision: Its number.
        kept: Replicas to keep, the ready ones first.
        slots: Slots to fill.
        starts: Replicas to start now, in slots whose delay is over.
    """

    revision: int
    kept: list[Observed]
    slots: list[int]
    starts: list[ReplicaKey]

    @property
    def serving(self) -> tuple[str, ...]:
        """The endpoints of its ready replicas that pass their health checks.

        If no replica passes, these are the endpoints of all ready ones: the check itself may be at
        fault.
        """
        ready = [replica for replica in self.kept if _is_ready(replica)]
        answering = [replica for replica in ready if replica.answers]
        return tuple(sorted(replica.endpoint for replica in answering or ready))


class _FunctionPlan:
    """Decides what to do about one function.

    Attributes:
        actions: Actions, in their order.
        due_times: When something changes without an event, in seconds since the epoch.
    """

    def __init__(
        self, replicas: list[Observed], view: View, now: float, rules: BackoffRules
    ) -> None:
        self.actions: list[Action] = []
        self.due_times: list[float] = []
        self._replicas = replicas
        self._alive = [replica for replica in replicas if replica.state is not ReplicaState.EXITED]
        self._view = view
        self._now = now
        self._rules = rules

    def delete(self, name: str) -> None:
        """Remove the route, then the replicas."""
        is_withdrawn = self._view.published.get(name, Route()) is None
        if not is_withdrawn:
            self.actions.append(WithdrawRoute(name))
        self._stop(
            [replica for replica in self._alive if _is_usable(replica)], is_unreached=is_withdrawn
        )
        for replica in self._replicas:
            if replica.state is ReplicaState.EXITED:
                self.actions.append(ForgetReplica(replica.key))

    def keep(self, wanted: Wanted) -> None:
        """Move a deployed function towards its desired state."""
        usable = [replica for replica in self._alive if _is_usable(replica)]
        ranked = sorted(usable, key=_rank)
        main = self._plan(ranked, wanted.function, wanted.revision, wanted.replicas)
        plans = [main]
        if wanted.canary is not None:
            canary = wanted.canary.revision
            plans.append(self._plan(ranked, wanted.function, canary, wanted.canaries))
        others: list[Observed] = []
        if wanted.replicas and not main.serving:
            current = {plan.revision for plan in plans}
            others = _newest_ready(
                replica for replica in ranked if replica.key.revision not in current
            )
            others = others[: wanted.replicas]
        if wanted.surge == 0 and main.starts:
            room = wanted.replicas - len(main.kept) - len(others)
            others = others[: max(0, len(others) - (len(main.starts) - max(0, room)))]
        self._collect_exited(plans)
        route = _route(wanted, plans, others)
        is_unreached = self._view.published.get(wanted.function) == route
        if not is_unreached:
            self.actions.append(PublishRoute(wanted.function, route))
        staying = {replica.key for plan in plans for replica in plan.kept}
        staying |= {replica.key for replica in others}
        self._stop(
            [replica for replica in usable if replica.key not in staying], is_unreached=is_unreached
        )
        room = max(0, wanted.most - len(self._alive))
        starts = [StartReplica(key) for plan in plans for key in plan.starts]
        self.actions.extend(starts[:room])

    def _plan(
        self, ranked: list[Observed], function: str, revision: int, replicas: int
    ) -> _RevisionPlan:
        """Divide the replicas of a revision into those to keep and those to start."""
        kept = [replica for replica in ranked if replica.key.revision == revision][:replicas]
        slots = self._free_slots(revision, replicas, kept)
        starts = self._startable(function, revision, slots)
        return _RevisionPlan(revision, kept, slots, starts)

    def _free_slots(self, revision: int, replicas: int, kept: list[Observed]) -> list[int]:
        """Return the slots to fill: the lowest ones without a running replica of this revision.

        A FAILED replica is replaced in its own slot once it has exited. Another slot would evade
        the delay after its crash.
        """
        current = [replica for replica in self._alive if replica.key.revision == revision]
        failed = [replica for replica in current if replica.state is ReplicaState.FAILED]
        taken = {replica.key.slot for replica in current}
        free = (slot for slot in count() if slot not in taken)
        return list(islice(free, max(0, replicas - len(kept) - len(failed))))

    def _startable(self, function: str, revision: int, slots: list[int]) -> list[ReplicaKey]:
        """Return the replicas to start now. For slots with a delay, note when it ends."""
        starts = []
        for slot in slots:
            crashes = crashes_of_slot(self._replicas, revision, slot)
            when = due(crashes, self._now, self._rules)
            if when > self._now:
                self.due_times.append(when)
                continue
            before = [
                replica.key.attempt
                for replica in self._replicas
                if (replica.key.revision, replica.key.slot) == (revision, slot)
            ]
            attempt = max(before, default=0) + 1
            starts.append(ReplicaKey(function, revision, slot, attempt))
        return starts

    def _stop(self, surplus: list[Observed], *, is_unreached: bool) -> None:
        """Stop replicas; ready ones only if the data plane has confirmed a route without them."""
        for replica in surplus:
            if not _is_ready(replica):
                self.actions.append(StopReplica(replica.key, self._rules.grace_of_start))
            elif is_unreached:
                self.actions.append(StopReplica(replica.key, self._rules.grace))

    def _collect_exited(self, plans: Iterable[_RevisionPlan]) -> None:
        """Record crashes, and forget exited replicas that no delay depends on."""
        remembered: set[ReplicaKey] = set()
        for plan in plans:
            remembered |= self._remembered(plan)
        for replica in self._replicas:
            if replica.state is not ReplicaState.EXITED:
                continue
            exit_ = crash(replica)
            if exit_ and _event_key(replica.key, exit_) not in self._view.recorded:
                self.actions.append(RecordEvent(_event(replica, exit_)))
            if replica.key not in remembered:
                self.actions.append(ForgetReplica(replica.key))

    def _remembered(self, plan: _RevisionPlan) -> set[ReplicaKey]:
        """Return the crashed replicas of a revision on which delays depend."""
        living = {
            replica.key.slot for replica in self._alive if replica.key.revision == plan.revision
        }
        settled = {replica.key.slot for replica in plan.kept if self._is_stable(replica)}
        crashed = {
            replica.key
            for slot in living.union(plan.slots) - settled
            for replica in crashes_of_slot(self._replicas, plan.revision, slot)[
                : self._rules.memory
            ]
        }
        unsettled = [
            replica.ready_at
            for replica in plan.kept
            if replica.ready_at is not None and replica.key.slot not in settled
        ]
        is_waiting = any(
            replica.key in crashed
            for replica in self._replicas
            if replica.state is ReplicaState.EXITED
        )
        if is_waiting and unsettled:
            # Once its successor is stable, an exited replica can be forgotten.
            self.due_times.append(min(unsettled) + self._rules.stable)
        return crashed

    def _is_stable(self, replica: Observed) -> bool:
        return replica.ready_at is not None and self._now - replica.ready_at >= self._rules.stable


def _route(wanted: Wanted, plans: list[_RevisionPlan], others: list[Observed]) -> Route:
    """Return the route to the ready replicas."""
    main = plans[0].serving or tuple(sorted(replica.endpoint for replica in others))
    canaries = plans[1].serving if len(plans) > 1 else ()
    if not main or not canaries or wanted.canary is None:
        return Route(main or canaries)
    return Route(main, canaries, wanted.canary.share)


def _is_usable(replica: Observed) -> bool:
    return replica.state in {ReplicaState.STARTING, ReplicaState.READY}


def _is_ready(replica: Observed) -> bool:
    return replica.state is ReplicaState.READY


def _rank(replica: Observed) -> tuple[bool, int, int]:
    """Return a sort key: replicas to keep come first."""
    return (not _is_ready(replica), replica.key.slot, replica.key.attempt)


def _newest_ready(replicas: Iterable[Observed]) -> list[Observed]:
    """Return the ready replicas of the newest revision that has any."""
    ready = [replica for replica in replicas if _is_ready(replica)]
    newest = max((replica.key.revision for replica in ready), default=0)
    return [replica for replica in ready if replica.key.revision == newest]


def _event_key(key: ReplicaKey, exit_: ReplicaExit) -> str:
    """Return a key for an exit. After a reboot, a replica may have the same id but another time."""
    return f"{key.id}@{exit_.at:.6f}"


def _event(replica: Observed, exit_: ReplicaExit) -> Event:
    return Event(
        function=replica.key.function,
        kind=EventKind.START_FAILED if replica.ready_at is None else EventKind.CRASHED,
        at=exit_.at,
        revision=replica.key.revision,
        key=_event_key(replica.key, exit_),
        replica=replica.key.id,
        detail=exit_.reason,
        error=exit_.error,
        traceback=exit_.traceback,
    )
