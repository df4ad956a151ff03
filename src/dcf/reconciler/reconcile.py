"""One turn: from what is wanted and what is seen to what is to be done.

A pure function. It keeps nothing between two turns, so a control plane that was killed goes on from
what it sees. For each function:

1. Crashes are recorded, and what no longer matters of ended replicas is forgotten.
2. Calls go to the ready replicas of the current revision, and a share of them to the canary's where
   there is one; while the current one has none, to those of the newest other one.
3. What is neither wanted nor serving is ended, but only once the data plane has confirmed that it
   sends no calls there.
4. Missing replicas are started, after a delay where they keep crashing, and never so many that more
   live than may.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
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
    """What a turn yields.

    Attributes:
        actions: To be carried out in this order.
        due: When the next turn is due though nothing was seen to change, in seconds since the
            epoch; None when nothing waits for the clock.
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
    """Takes one turn.

    Args:
        wanted: Every function that is deployed; replicas of any other one are to go.
        view: What is seen.
        now: Seconds since the epoch.
        rules: The numbers to go by.
        unknown: Deployed functions whose record cannot be read. They stay unchanged.
    """
    by_function: dict[str, list[Observed]] = {}
    for one in view.replicas:
        by_function.setdefault(one.key.function, []).append(one)
    deployed = {one.function: one for one in wanted}
    names = sorted(deployed.keys() | by_function.keys() | view.published.keys())
    parts: list[_FunctionPlan] = []
    failed: dict[str, Exception] = {}
    for name in names:
        own = deployed.get(name)
        if own is not None and name not in by_function and _rests(own, view):
            continue
        if name in unknown:
            continue
        part = _FunctionPlan(by_function.get(name, []), view, now, rules)
        try:
            if own is None:
                part.delete(name)
            else:
                part.keep(own)
        except Exception as error:  # noqa: BLE001  one function's error must not affect others
            failed[name] = error
        else:
            parts.append(part)
    waits = [when for part in parts for when in part.waits]
    actions = tuple(action for part in parts for action in part.actions)
    return Reconciliation(actions, min(waits, default=None), failed)


def _rests(wanted: Wanted, view: View) -> bool:
    """Whether a function that has no replica is to have none, which most may be: the short way."""
    return (
        wanted.replicas + wanted.canaries == 0 and view.published.get(wanted.function) == _NOWHERE
    )


def carried_out(view: View, actions: Iterable[Action]) -> View:
    """What is held to be true once actions were carried out, until better is seen.

    Whoever takes turns keeps this as the view and lays over it what the engine tells.
    """
    replicas = {one.key: one for one in view.replicas}
    published = dict(view.published)
    recorded = set(view.recorded)
    for action in actions:
        match action:
            case StartReplica(key):
                replicas.setdefault(key, Observed(key, ReplicaState.STARTING))
            case StopReplica(key):
                replicas[key] = replace(replicas[key], state=ReplicaState.DRAINING)
            case PublishRoute(function, route):
                published[function] = route
            case WithdrawRoute(function):
                published[function] = None
            case RecordEvent(event):
                recorded.add(event.key)
            case ForgetReplica(key):
                exit_ = replicas.pop(key).exit
                recorded.discard(_event_key(key, exit_) if exit_ else "")
    known = {key.function for key in replicas}
    published = {
        function: route
        for function, route in published.items()
        if route is not None or function in known
    }
    return View(tuple(replicas.values()), published, frozenset(recorded))


@dataclass(frozen=True, slots=True)
class _RevisionPlan:
    """One of a function's revisions that are to have replicas.

    Attributes:
        revision: Its number.
        kept: Replicas that stay, the ready ones first.
        slots: Places that are to be filled.
        starts: Those of them whose delay is over.
    """

    revision: int
    kept: list[Observed]
    slots: list[int]
    starts: list[ReplicaKey]

    @property
    def serving(self) -> tuple[str, ...]:
        """Where its ready replicas are. None answering, all count: the fault may be elsewhere."""
        ready = [one for one in self.kept if _ready(one)]
        answering = [one for one in ready if one.answers]
        return tuple(sorted(one.endpoint for one in answering or ready))


class _FunctionPlan:
    """One function's part of a turn."""

    def __init__(
        self, replicas: list[Observed], view: View, now: float, rules: BackoffRules
    ) -> None:
        self.actions: list[Action] = []
        self.waits: list[float] = []
        self._replicas = replicas
        self._alive = [one for one in replicas if one.state is not ReplicaState.EXITED]
        self._view = view
        self._now = now
        self._rules = rules

    def delete(self, name: str) -> None:
        """All of it goes: calls first, then replicas."""
        withdrawn = self._view.published.get(name, Route()) is None
        if not withdrawn:
            self.actions.append(WithdrawRoute(name))
        self._stop([one for one in self._alive if _usable(one)], unreached=withdrawn)
        for one in self._replicas:
            if one.state is ReplicaState.EXITED:
                self.actions.append(ForgetReplica(one.key))

    def keep(self, wanted: Wanted) -> None:
        """Brings a deployed function nearer to what it is to be."""
        usable = [one for one in self._alive if _usable(one)]
        ranked = sorted(usable, key=_rank)
        main = self._track(ranked, wanted.function, wanted.revision, wanted.replicas)
        tracks = [main]
        if wanted.canary is not None:
            canary = wanted.canary.revision
            tracks.append(self._track(ranked, wanted.function, canary, wanted.canaries))
        others: list[Observed] = []
        if wanted.replicas and not main.serving:
            current = {track.revision for track in tracks}
            others = _newest_ready(one for one in ranked if one.key.revision not in current)
            others = others[: wanted.replicas]
        if wanted.surge == 0 and main.starts:
            room = wanted.replicas - len(main.kept) - len(others)
            others = others[: max(0, len(others) - (len(main.starts) - max(0, room)))]
        self._collect_exited(tracks)
        route = _route(wanted, tracks, others)
        unreached = self._view.published.get(wanted.function) == route
        if not unreached:
            self.actions.append(PublishRoute(wanted.function, route))
        staying = {one.key for track in tracks for one in track.kept}
        staying |= {one.key for one in others}
        self._stop([one for one in usable if one.key not in staying], unreached=unreached)
        room = max(0, wanted.most - len(self._alive))
        starts = [StartReplica(key) for track in tracks for key in track.starts]
        self.actions.extend(starts[:room])

    def _track(
        self, ranked: list[Observed], function: str, revision: int, replicas: int
    ) -> _RevisionPlan:
        """What is there of a revision that is to have replicas, and what is missing."""
        kept = [one for one in ranked if one.key.revision == revision][:replicas]
        slots = self._free_slots(revision, replicas, kept)
        starts = self._startable(function, revision, slots)
        return _RevisionPlan(revision, kept, slots, starts)

    def _free_slots(self, revision: int, replicas: int, kept: list[Observed]) -> list[int]:
        """The slots that are to be filled: the lowest that nobody of this revision lives in.

        One that FAILED is replaced in its own slot once it has ended, or the delay that its end
        calls for would be evaded.
        """
        current = [one for one in self._alive if one.key.revision == revision]
        failed = [one for one in current if one.state is ReplicaState.FAILED]
        taken = {one.key.slot for one in current}
        free = (slot for slot in count() if slot not in taken)
        return list(islice(free, max(0, replicas - len(kept) - len(failed))))

    def _startable(self, function: str, revision: int, slots: list[int]) -> list[ReplicaKey]:
        """The replicas for which no delay runs; notes when the others' delays end."""
        found = []
        for slot in slots:
            crashes = crashes_of_slot(self._replicas, revision, slot)
            when = due(crashes, self._now, self._rules)
            if when > self._now:
                self.waits.append(when)
                continue
            before = [
                one.key.attempt
                for one in self._replicas
                if (one.key.revision, one.key.slot) == (revision, slot)
            ]
            attempt = max(before, default=0) + 1
            found.append(ReplicaKey(function, revision, slot, attempt))
        return found

    def _stop(self, surplus: list[Observed], *, unreached: bool) -> None:
        """Ends replicas; ready ones once the data plane has confirmed that no call goes there."""
        for one in surplus:
            if not _ready(one):
                self.actions.append(StopReplica(one.key, self._rules.grace_of_start))
            elif unreached:
                self.actions.append(StopReplica(one.key, self._rules.grace))

    def _collect_exited(self, tracks: Iterable[_RevisionPlan]) -> None:
        """Records crashes, and forgets all ends but those by which delays are reckoned."""
        remembered: set[ReplicaKey] = set()
        for track in tracks:
            remembered |= self._remembered(track)
        for one in self._replicas:
            if one.state is not ReplicaState.EXITED:
                continue
            exit_ = crash(one)
            if exit_ and _event_key(one.key, exit_) not in self._view.recorded:
                self.actions.append(RecordEvent(_event(one, exit_)))
            if one.key not in remembered:
                self.actions.append(ForgetReplica(one.key))

    def _remembered(self, track: _RevisionPlan) -> set[ReplicaKey]:
        """The crashed replicas of a revision by which delays are reckoned."""
        living = {one.key.slot for one in self._alive if one.key.revision == track.revision}
        settled = {one.key.slot for one in track.kept if self._is_stable(one)}
        found = {
            one.key
            for slot in living.union(track.slots) - settled
            for one in crashes_of_slot(self._replicas, track.revision, slot)[: self._rules.memory]
        }
        unsettled = [
            one.ready_at
            for one in track.kept
            if one.ready_at is not None and one.key.slot not in settled
        ]
        buried = any(one.key in found for one in self._replicas if one.state is ReplicaState.EXITED)
        if buried and unsettled:
            self.waits.append(min(unsettled) + self._rules.stable)
        return found

    def _is_stable(self, one: Observed) -> bool:
        return one.ready_at is not None and self._now - one.ready_at >= self._rules.stable


def _route(wanted: Wanted, tracks: list[_RevisionPlan], others: list[Observed]) -> Route:
    """Where calls go, as far as there is somebody to take them."""
    main = tracks[0].serving or tuple(sorted(one.endpoint for one in others))
    canaries = tracks[1].serving if len(tracks) > 1 else ()
    if not main or not canaries or wanted.canary is None:
        return Route(main or canaries)
    return Route(main, canaries, wanted.canary.share)


def _usable(one: Observed) -> bool:
    return one.state in {ReplicaState.STARTING, ReplicaState.READY}


def _ready(one: Observed) -> bool:
    return one.state is ReplicaState.READY


def _rank(one: Observed) -> tuple[bool, int, int]:
    """The more worth keeping, the smaller."""
    return (not _ready(one), one.key.slot, one.key.attempt)


def _newest_ready(replicas: Iterable[Observed]) -> list[Observed]:
    """The ready replicas of the newest revision that has any."""
    ready = [one for one in replicas if _ready(one)]
    newest = max((one.key.revision for one in ready), default=0)
    return [one for one in ready if one.key.revision == newest]


def _event_key(key: ReplicaKey, exit_: ReplicaExit) -> str:
    """The same id may live again after the machine was started anew; never at the same time."""
    return f"{key.id}@{exit_.at:.6f}"


def _event(one: Observed, exit_: ReplicaExit) -> Event:
    return Event(
        function=one.key.function,
        kind=EventKind.START_FAILED if one.ready_at is None else EventKind.CRASHED,
        at=exit_.at,
        revision=one.key.revision,
        key=_event_key(one.key, exit_),
        replica=one.key.id,
        detail=exit_.reason,
        error=exit_.error,
        traceback=exit_.traceback,
    )
