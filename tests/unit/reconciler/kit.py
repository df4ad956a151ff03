"""Replicas in a line, and a small world in which turns are taken."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from dcf.model.desired import CanaryWanted, Wanted
from dcf.model.observed import Observed, ReplicaKey
from dcf.model.replica import ReplicaExit, ReplicaState
from dcf.reconciler.reconcile import Reconciliation, carried_out, reconcile
from dcf.reconciler.types import (
    ForgetReplica,
    PublishRoute,
    RecordEvent,
    Route,
    StartReplica,
    StopReplica,
    View,
    WithdrawRoute,
)

STATES = {
    "s": ReplicaState.STARTING,
    "r": ReplicaState.READY,
    "d": ReplicaState.DRAINING,
    "f": ReplicaState.FAILED,
    "x": ReplicaState.EXITED,
}


def seen(line: str, function: str = "f", *, ready_at: float = 0.0) -> tuple[Observed, ...]:
    """``1.0.2:r`` is attempt 2 in slot 0 of revision 1, ready; after ``x`` the second it crashed,
    after ``X`` the second it ended as asked; ``!`` in front of it: it never was ready."""
    found = []
    for word in line.split():
        place, _, state = word.partition(":")
        key = ReplicaKey(function, *map(int, place.split(".")))
        was_ready = "!" not in state
        state = state.replace("!", "")
        kind = STATES[state[0].lower()]
        exit_ = None
        if kind is ReplicaState.EXITED:
            exit_ = ReplicaExit(1, float(state[1:]), "exit code 1", asked=state[0] == "X")
        began = kind not in {ReplicaState.STARTING, ReplicaState.FAILED} and was_ready
        endpoint = f"unix:{key.id}" if began else ""
        found.append(Observed(key, kind, endpoint, ready_at if began else None, exit_))
    return tuple(found)


def told(found: Reconciliation) -> list[str]:
    """Actions in a line each."""
    lines = []
    for action in found.actions:
        match action:
            case StartReplica(key):
                lines.append(f"start {key.id}")
            case StopReplica(key, grace):
                lines.append(f"stop {key.id} {grace:g}")
            case PublishRoute(function, route):
                ids = [one.removeprefix("unix:") for one in route.endpoints]
                if route.canaries:
                    ids.append(f"{route.share:g}%")
                ids += [one.removeprefix("unix:") for one in route.canaries]
                lines.append(" ".join(["publish", function, *ids]))
            case WithdrawRoute(function):
                lines.append(f"withdraw {function}")
            case RecordEvent(event):
                lines.append(f"record {event.kind} {event.replica}")
            case ForgetReplica(key):
                lines.append(f"forget {key.id}")
    return lines


@dataclass
class World:
    """An engine, a data plane and a catalog that go wrong in every way they may."""

    dice: random.Random
    now: float = 1000.0
    deployed: dict[str, Wanted] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    engine: dict[ReplicaKey, Observed] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    view: View = field(default_factory=View)
    recorded: set[str] = field(default_factory=set)
    crashed: set[str] = field(default_factory=set)
    goes_wrong: bool = True
    is_new: bool = True
    """Whether the control plane has taken no turn yet."""

    # What people do

    def deploy(self, name: str) -> None:
        self.numbers[name] = self.numbers.get(name, 0) + 1
        before = self.deployed.get(name)
        replicas = before.replicas if before else self.dice.choice([0, 1, 1, 2, 3])
        surge = self.dice.choice([None, None, 1, 0])
        self.deployed[name] = Wanted(name, self.numbers[name], replicas, surge)

    def try_canary(self, name: str) -> None:
        if name in self.deployed:
            self.numbers[name] += 1
            canary = CanaryWanted(self.numbers[name], self.dice.choice([1, 30, 99]))
            self.deployed[name] = replace(self.deployed[name], canary=canary)

    def end_canary(self, name: str) -> None:
        wanted = self.deployed.get(name)
        if wanted and wanted.canary:
            revision = self.dice.choice([wanted.revision, wanted.canary.revision])
            self.deployed[name] = replace(wanted, revision=revision, canary=None)

    def roll_back(self, name: str) -> None:
        if name in self.deployed:
            number = self.dice.randint(1, self.numbers[name])
            self.deployed[name] = replace(self.deployed[name], revision=number, canary=None)

    def scale(self, name: str) -> None:
        if name in self.deployed:
            replicas = self.dice.choice([0, 1, 2, 4])
            self.deployed[name] = replace(self.deployed[name], replicas=replicas)

    def delete(self, name: str) -> None:
        self.deployed.pop(name, None)

    # What happens by itself

    def progress(self) -> None:
        """One replica takes a step of its life."""
        alive = [one for one in self.engine.values() if one.state is not ReplicaState.EXITED]
        if not alive:
            return
        one = self.dice.choice(sorted(alive, key=lambda one: one.key))
        if one.state is ReplicaState.STARTING:
            if self.dice.random() < 0.6:
                self.become_ready(one)
            else:
                self.engine[one.key] = replace(one, state=ReplicaState.FAILED)
        elif one.state is ReplicaState.READY:
            if self.dice.random() < 0.4:
                self.end(one, asked=False)
        elif one.state is ReplicaState.FAILED:
            self.end(one, asked=False)
        elif one.state is ReplicaState.DRAINING:
            self.end(one, asked=True)

    def become_ready(self, one: Observed) -> None:
        endpoint = f"unix:{one.key.id}"
        self.engine[one.key] = replace(
            one, state=ReplicaState.READY, endpoint=endpoint, ready_at=self.now
        )

    def end(self, one: Observed, *, asked: bool) -> None:
        exit_ = ReplicaExit(1, self.now, "ended", asked=asked)
        if not asked:
            self.crashed.add(one.key.id)
        self.engine[one.key] = replace(one, state=ReplicaState.EXITED, exit=exit_)

    def restart_of_control_plane(self) -> None:
        self.view, self.is_new = View(), True

    def restart_of_everything(self) -> None:
        self.engine, self.routes = {}, {}
        self.restart_of_control_plane()

    # The loop

    def look(self) -> View:
        self.view = replace(self.view, replicas=tuple(self.engine.values()))
        return self.view

    def take_turn(self) -> Reconciliation:
        """Looks, decides, checks that nothing forbidden is asked for, and carries it out."""
        view = self.look()
        found = reconcile(self.deployed.values(), view, self.now)
        assert reconcile(self.deployed.values(), view, self.now) == found, "a turn keeps nothing"
        done = [action for action in found.actions if not self._is_late(action)]
        for action in done:
            self._carry_out(action)
        self.view = carried_out(view, done)
        if self.is_new:
            known = self.view.published
            self.routes = {name: one for name, one in self.routes.items() if name in known}
            self.is_new = False
        return found

    def _is_late(self, action: object) -> bool:
        """The data plane may be away: it neither does nor confirms what it is asked for."""
        return (
            self.goes_wrong
            and isinstance(action, PublishRoute | WithdrawRoute)
            and self.dice.random() < 0.4
        )

    def _carry_out(self, action: object) -> None:
        match action:
            case StartReplica(key):
                self._check_start(key)
                self.engine[key] = Observed(key, ReplicaState.STARTING)
            case StopReplica(key):
                one = self.engine[key]
                assert one.state in {ReplicaState.STARTING, ReplicaState.READY}
                reached = [route for route in self.routes.values() if one.endpoint in route]
                assert not reached, "calls still go there"
                self.engine[key] = replace(one, state=ReplicaState.DRAINING)
            case PublishRoute(function, route):
                assert function in self.deployed
                ready = {
                    one.endpoint: one.key.revision
                    for one in self.engine.values()
                    if one.state is ReplicaState.READY and one.key.function == function
                }
                wanted = self.deployed[function]
                takers = {*route.endpoints, *route.canaries}
                assert takers <= set(ready), "calls would go to what is not ready"
                for group in (route.endpoints, route.canaries):
                    assert len({ready[one] for one in group}) <= 1, "two revisions for one share"
                assert len(takers) <= max(wanted.replicas, 1) + wanted.canaries
                assert bool(route.canaries) == bool(route.share)
                if route.canaries:
                    assert wanted.canary is not None
                    assert {ready[one] for one in route.canaries} == {wanted.canary.revision}
                self.routes[function] = route
            case WithdrawRoute(function):
                assert function not in self.deployed
                self.routes.pop(function, None)
            case RecordEvent(event):
                assert event.replica in self.crashed, "only what crashed is told"
                self.recorded.add(event.key)
            case ForgetReplica(key):
                one = self.engine.pop(key)
                assert one.exit is not None

    def _check_start(self, key: ReplicaKey) -> None:
        wanted = self.deployed[key.function]
        canary = wanted.canary and wanted.canary.revision
        assert key.revision in {wanted.revision, canary}
        assert key not in self.engine, "an id that is known already"
        alive = [
            one.key
            for one in self.engine.values()
            if one.key.function == key.function and one.state is not ReplicaState.EXITED
        ]
        slots = [one.slot for one in alive if one.revision == key.revision]
        assert key.slot not in slots, "two in one slot"
        assert len(alive) < wanted.most, "more live than may"

    # The end

    def settle(self) -> None:
        """From now on nothing goes wrong; time passes."""
        self.goes_wrong = False
        for _ in range(400):
            found = self.take_turn()
            for one in list(self.engine.values()):
                if one.state is ReplicaState.STARTING:
                    self.become_ready(one)
                elif one.state in {ReplicaState.DRAINING, ReplicaState.FAILED}:
                    self.end(one, asked=one.state is ReplicaState.DRAINING)
            view = self.look()
            if not found.actions and found.due is None:
                after = reconcile(self.deployed.values(), view, self.now)
                if not after.actions and after.due is None:
                    return
            self.now = max(self.now + 0.01, found.due or 0.0)
        raise AssertionError("it never came to rest")
