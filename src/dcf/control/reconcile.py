"""One turn: from what is wanted and what is seen to what is to be done.

A pure function. It keeps nothing between two turns, so a control plane that was killed goes on from
what it sees. For each function:

1. Crashes are recorded, and what no longer matters of ended replicas is forgotten.
2. Calls go to the ready replicas of the current revision; while it has none, to those of the newest
   other one.
3. What is neither current nor serving is ended, but only once the data plane has confirmed that it
   sends no calls there.
4. Missing replicas are started, after a delay where they keep crashing, and never so many that more
   live than may.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count, islice

from dcf.control.backoff import RULES, Rules, crash, crashes_of_slot, due
from dcf.control.view import (
    Action,
    Forget,
    Observed,
    Publish,
    Record,
    ReplicaKey,
    Start,
    Stop,
    View,
    Wanted,
    Withdraw,
)
from dcf.model.event import Event, EventKind
from dcf.model.replica import ReplicaExit, ReplicaState


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn yields.

    Attributes:
        actions: To be carried out in this order.
        due: When the next turn is due though nothing was seen to change, in seconds since the
            epoch; None when nothing waits for the clock.
    """

    actions: tuple[Action, ...]
    due: float | None


def turn(wanted: Iterable[Wanted], view: View, now: float, rules: Rules = RULES) -> Turn:
    """Takes one turn.

    Args:
        wanted: Every function that is deployed; replicas of any other one are to go.
        view: What is seen.
        now: Seconds since the epoch.
        rules: The numbers to go by.
    """
    by_function: dict[str, list[Observed]] = {}
    for one in view.replicas:
        by_function.setdefault(one.key.function, []).append(one)
    deployed = {one.function: one for one in wanted}
    names = sorted(deployed.keys() | by_function.keys() | view.published.keys())
    parts = []
    for name in names:
        own = deployed.get(name)
        part = _Part(by_function.get(name, []), view, now, rules)
        if own is None:
            part.delete(name)
        else:
            part.keep(own)
        parts.append(part)
    waits = [when for part in parts for when in part.waits]
    actions = tuple(action for part in parts for action in part.actions)
    return Turn(actions, min(waits, default=None))


def carried_out(view: View, actions: Iterable[Action]) -> View:
    """What is held to be true once actions were carried out, until better is seen.

    Whoever takes turns keeps this as the view and lays over it what the engine tells.
    """
    replicas = {one.key: one for one in view.replicas}
    published = dict(view.published)
    recorded = set(view.recorded)
    for action in actions:
        match action:
            case Start(key):
                replicas.setdefault(key, Observed(key, ReplicaState.STARTING))
            case Stop(key):
                replicas[key] = replace(replicas[key], state=ReplicaState.DRAINING)
            case Publish(function, endpoints):
                published[function] = endpoints
            case Withdraw(function):
                published[function] = None
            case Record(event):
                recorded.add(event.key)
            case Forget(key):
                exit_ = replicas.pop(key).exit
                recorded.discard(_event_key(key, exit_) if exit_ else "")
    known = {key.function for key in replicas}
    published = {
        function: endpoints
        for function, endpoints in published.items()
        if endpoints is not None or function in known
    }
    return View(tuple(replicas.values()), published, frozenset(recorded))


class _Part:
    """One function's part of a turn."""

    def __init__(self, replicas: list[Observed], view: View, now: float, rules: Rules) -> None:
        self.actions: list[Action] = []
        self.waits: list[float] = []
        self._replicas = replicas
        self._alive = [one for one in replicas if one.state is not ReplicaState.EXITED]
        self._view = view
        self._now = now
        self._rules = rules

    def delete(self, name: str) -> None:
        """All of it goes: calls first, then replicas."""
        withdrawn = self._view.published.get(name, ()) is None
        if not withdrawn:
            self.actions.append(Withdraw(name))
        self._stop([one for one in self._alive if _usable(one)], unreached=withdrawn)
        for one in self._replicas:
            if one.state is ReplicaState.EXITED:
                self.actions.append(Forget(one.key))

    def keep(self, wanted: Wanted) -> None:
        """Brings a deployed function nearer to what it is to be."""
        usable = [one for one in self._alive if _usable(one)]
        ranked = sorted(usable, key=_rank)
        kept = [one for one in ranked if one.key.revision == wanted.revision][: wanted.replicas]
        serving = [one for one in kept if _ready(one)]
        others: list[Observed] = []
        if wanted.replicas and not serving:
            others = _newest_ready(one for one in ranked if one.key.revision != wanted.revision)
            others = others[: wanted.replicas]
        slots = self._free_slots(wanted, kept)
        starts = self._startable(wanted, slots)
        if wanted.surge == 0 and starts:
            room = wanted.replicas - len(kept) - len(others)
            others = others[: max(0, len(others) - (len(starts) - max(0, room)))]
        current = {one.key.slot for one in self._alive if one.key.revision == wanted.revision}
        self._bury(wanted, current.union(slots), kept)
        endpoints = tuple(sorted(one.endpoint for one in serving or others))
        unreached = self._view.published.get(wanted.function) == endpoints
        if not unreached:
            self.actions.append(Publish(wanted.function, endpoints))
        staying = {one.key for one in (*kept, *others)}
        self._stop([one for one in usable if one.key not in staying], unreached=unreached)
        room = max(0, wanted.most - len(self._alive))
        self.actions.extend(Start(key) for key in starts[:room])

    def _free_slots(self, wanted: Wanted, kept: list[Observed]) -> list[int]:
        """The slots that are to be filled: the lowest that nobody of this revision lives in.

        One that FAILED is replaced in its own slot once it has ended, or the delay that its end
        calls for would be evaded.
        """
        current = [one for one in self._alive if one.key.revision == wanted.revision]
        failed = [one for one in current if one.state is ReplicaState.FAILED]
        taken = {one.key.slot for one in current}
        free = (slot for slot in count() if slot not in taken)
        return list(islice(free, max(0, wanted.replicas - len(kept) - len(failed))))

    def _startable(self, wanted: Wanted, slots: list[int]) -> list[ReplicaKey]:
        """The replicas for which no delay runs; notes when the others' delays end."""
        found = []
        for slot in slots:
            crashes = crashes_of_slot(self._replicas, wanted.revision, slot)
            when = due(crashes, self._now, self._rules)
            if when > self._now:
                self.waits.append(when)
                continue
            before = [
                one.key.attempt
                for one in self._replicas
                if (one.key.revision, one.key.slot) == (wanted.revision, slot)
            ]
            attempt = max(before, default=0) + 1
            found.append(ReplicaKey(wanted.function, wanted.revision, slot, attempt))
        return found

    def _stop(self, surplus: list[Observed], *, unreached: bool) -> None:
        """Ends replicas; ready ones once the data plane has confirmed that no call goes there."""
        for one in surplus:
            if not _ready(one):
                self.actions.append(Stop(one.key, self._rules.grace_of_start))
            elif unreached:
                self.actions.append(Stop(one.key, self._rules.grace))

    def _bury(self, wanted: Wanted, slots: set[int], kept: list[Observed]) -> None:
        """Records crashes, and forgets all ends but those by which delays are reckoned."""
        settled = {one.key.slot for one in kept if self._is_stable(one)}
        remembered = {
            one.key
            for slot in slots - settled
            for one in crashes_of_slot(self._replicas, wanted.revision, slot)[: self._rules.memory]
        }
        buried = 0
        for one in self._replicas:
            if one.state is not ReplicaState.EXITED:
                continue
            exit_ = crash(one)
            if exit_ and _event_key(one.key, exit_) not in self._view.recorded:
                self.actions.append(Record(_event(one, exit_)))
            if one.key not in remembered:
                self.actions.append(Forget(one.key))
            buried += one.key in remembered
        unsettled = [
            one for one in kept if one.ready_at is not None and one.key.slot not in settled
        ]
        if buried and unsettled:
            self.waits.append(min((one.ready_at or 0.0) for one in unsettled) + self._rules.stable)

    def _is_stable(self, one: Observed) -> bool:
        return one.ready_at is not None and self._now - one.ready_at >= self._rules.stable


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
