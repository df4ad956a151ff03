"""Single turns, and thousands of turns in a simulation with faults."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from dcf.model.desired import CanaryWanted, Wanted
from dcf.model.observed import ReplicaKey
from dcf.model.replica import ReplicaState
from dcf.reconciler.backoff import RULES
from dcf.reconciler.reconcile import Reconciliation, reconcile
from dcf.reconciler.types import Route, View
from unit.reconciler.kit import Simulation, executed, seen, told

ROUTED = Route(("unix:f.1.0.1",))
NOW = 100.0


def decide(
    wanted: Wanted | None,
    line: str,
    *published: str,
    now: float = NOW,
    ready_at: float = 0.0,
    recorded: frozenset[str] = frozenset(),
) -> Reconciliation:
    route = Route(tuple(f"unix:{one}" for one in published))
    view = View(seen(line, ready_at=ready_at), {"f": route}, recorded)
    return reconcile([] if wanted is None else [wanted], view, now)


def one(revision: int = 1, replicas: int = 1, surge: int | None = None) -> Wanted:
    return Wanted("f", revision, replicas, surge)


# Start and publish


def test_a_missing_replica_is_started_and_the_function_published():
    found = reconcile([one(replicas=2)], View(), NOW)
    assert told(found) == ["publish f", "start f.1.0.1", "start f.1.1.1"]
    assert found.due is None


def test_a_ready_replica_is_published():
    assert told(decide(one(), "1.0.1:r")) == ["publish f f.1.0.1"]
    assert told(decide(one(), "1.0.1:r", "f.1.0.1")) == []


@pytest.mark.parametrize("state", ["s", "f"])
def test_a_starting_replica_is_not_published_and_not_started_again(state):
    assert told(decide(one(), f"1.0.1:{state}")) == []


def test_after_a_restart_of_the_control_plane_all_routes_are_published_again():
    view = View(seen("1.0.1:r"))
    assert told(reconcile([one()], view, NOW)) == ["publish f f.1.0.1"]


def test_functions_are_independent():
    view = View((*seen("1.0.1:r", "a"), *seen("1.0.1:s", "b")))
    found = reconcile([Wanted("a", 1, 1), Wanted("b", 1, 1)], view, NOW)
    assert told(found) == ["publish a a.1.0.1", "publish b"]


# A new revision


def test_the_previous_revision_serves_until_a_new_replica_is_ready():
    wanted = one(revision=2)
    assert told(decide(wanted, "1.0.1:r", "f.1.0.1")) == ["start f.2.0.1"]
    assert told(decide(wanted, "1.0.1:r 2.0.1:s", "f.1.0.1")) == []
    assert told(decide(wanted, "1.0.1:r 2.0.1:r", "f.1.0.1")) == ["publish f f.2.0.1"]
    assert told(decide(wanted, "1.0.1:r 2.0.1:r", "f.2.0.1")) == ["stop f.1.0.1 30"]
    assert told(decide(wanted, "1.0.1:d 2.0.1:r", "f.2.0.1")) == []
    assert told(decide(wanted, "1.0.1:X99 2.0.1:r", "f.2.0.1")) == ["forget f.1.0.1"]


def test_a_ready_replica_is_stopped_only_after_the_data_plane_has_confirmed_the_route():
    view = View(seen("1.0.1:r 2.0.1:r"))
    assert told(reconcile([one(revision=2)], view, NOW)) == ["publish f f.2.0.1"]


def test_if_a_new_revision_cannot_start_the_previous_one_keeps_serving():
    found = decide(one(revision=2), "1.0.1:r 2.0.1:!x99.9", "f.1.0.1")
    assert told(found) == ["record start-failed f.2.0.1"]
    assert found.due == pytest.approx(100.4)


def test_of_several_old_revisions_the_newest_ready_one_serves():
    found = decide(one(revision=4), "1.0.1:r 2.0.1:r 3.0.1:s 4.0.1:s")
    assert told(found) == ["publish f f.2.0.1", "stop f.3.0.1 2"]
    found = decide(one(revision=4), "1.0.1:r 2.0.1:r 4.0.1:s", "f.2.0.1")
    assert told(found) == ["stop f.1.0.1 30"]


def test_a_rollback_starts_the_older_revision():
    assert told(decide(one(revision=1), "2.0.1:r", "f.2.0.1")) == ["start f.1.0.1"]
    found = decide(one(revision=1), "1.0.1:r 2.0.1:r", "f.1.0.1")
    assert told(found) == ["stop f.2.0.1 30"]


def test_without_surge_the_old_replica_is_stopped_first():
    wanted = one(revision=2, surge=0)
    assert told(decide(wanted, "1.0.1:r", "f.1.0.1")) == ["publish f"]
    assert told(decide(wanted, "1.0.1:r")) == ["stop f.1.0.1 30"]
    assert told(decide(wanted, "1.0.1:d")) == []
    assert told(decide(wanted, "1.0.1:X99")) == ["forget f.1.0.1", "start f.2.0.1"]


def test_the_maximum_of_running_replicas_is_never_exceeded():
    draining = " ".join(f"1.{slot}.1:d" for slot in range(3))
    assert told(decide(one(2, replicas=2), draining)) == ["start f.2.0.1"]
    assert told(decide(one(2, replicas=2), draining + " 1.3.1:d")) == []


# Scale and delete


def test_scaling_down_keeps_the_ready_replicas():
    found = decide(one(replicas=1), "1.0.1:s 1.1.1:r 1.2.1:r", "f.1.1.1", "f.1.2.1")
    assert told(found) == ["publish f f.1.1.1", "stop f.1.0.1 2"]
    found = decide(one(replicas=1), "1.1.1:r 1.2.1:r", "f.1.1.1")
    assert told(found) == ["stop f.1.2.1 30"]


def test_scaling_to_zero_stops_all_replicas():
    assert told(decide(one(replicas=0), "1.0.1:r", "f.1.0.1")) == ["publish f"]
    assert told(decide(one(replicas=0), "1.0.1:r")) == ["stop f.1.0.1 30"]
    assert told(decide(one(replicas=0), "")) == []


def test_scaling_up_fills_the_lowest_free_slots():
    found = decide(one(replicas=4), "1.1.1:r 1.5.3:r", "f.1.1.1", "f.1.5.3")
    assert told(found) == ["start f.1.0.1", "start f.1.2.1"]


def test_a_deleted_function_loses_its_route_first():
    steps = []
    view = View(seen("1.0.1:r 1.1.1:s"), {"f": ROUTED})
    for _ in range(3):
        found = reconcile([], view, NOW)
        steps.append(told(found))
        view = executed(view, found.actions)
    assert steps == [["withdraw f", "stop f.1.1.1 2"], ["stop f.1.0.1 30"], []]
    view = View(seen("1.0.1:X99 1.1.1:x99"), view.published)
    found = reconcile([], view, NOW)
    assert told(found) == ["forget f.1.0.1", "forget f.1.1.1"]
    assert executed(view, found.actions) == View()


def test_a_function_without_replicas_is_deleted_at_once():
    view = View((), {"f": Route()})
    found = reconcile([], view, NOW)
    assert told(found) == ["withdraw f"]
    assert executed(view, found.actions) == View()


# A canary


def tried(share: float = 10, replicas: int = 2) -> Wanted:
    return Wanted("f", 1, replicas, canary=CanaryWanted(2, share))


def test_a_canary_gets_its_share_once_it_is_ready():
    assert told(decide(tried(), "1.0.1:r 1.1.1:r", "f.1.0.1", "f.1.1.1")) == ["start f.2.0.1"]
    assert told(decide(tried(), "1.0.1:r 1.1.1:r 2.0.1:s", "f.1.0.1", "f.1.1.1")) == []
    found = decide(tried(), "1.0.1:r 1.1.1:r 2.0.1:r", "f.1.0.1", "f.1.1.1")
    assert told(found) == ["publish f f.1.0.1 f.1.1.1 10% f.2.0.1"]


def test_a_canary_has_its_share_of_the_replicas():
    assert [tried(share, 4).canaries for share in (1, 25, 26, 99)] == [1, 1, 2, 4]
    assert tried(50, 0).canaries == 0


def test_a_canary_that_cannot_start_gets_no_calls():
    found = decide(tried(), "1.0.1:r 1.1.1:r 2.0.1:!x99.9", "f.1.0.1", "f.1.1.1")
    assert told(found) == ["record start-failed f.2.0.1"]
    assert found.due == pytest.approx(99.9 + RULES.first_delay)


def test_the_canary_gets_all_calls_if_no_other_replica_is_ready():
    found = decide(tried(), "2.0.1:r")
    assert told(found)[0] == "publish f f.2.0.1"


def test_a_promoted_canary_keeps_its_replicas():
    view = View(seen("1.0.1:r 2.0.1:r"), {"f": Route(("unix:f.1.0.1",), ("unix:f.2.0.1",), 10)})
    found = reconcile([one(2)], view, NOW)
    assert told(found) == ["publish f f.2.0.1"]
    found = reconcile([one(2)], executed(view, found.actions), NOW)
    assert told(found) == ["stop f.1.0.1 30"]


def test_an_aborted_canary_loses_its_route_first():
    view = View(seen("1.0.1:r 2.0.1:r"), {"f": Route(("unix:f.1.0.1",), ("unix:f.2.0.1",), 10)})
    found = reconcile([one(1)], view, NOW)
    assert told(found) == ["publish f f.1.0.1"]
    found = reconcile([one(1)], executed(view, found.actions), NOW)
    assert told(found) == ["stop f.2.0.1 30"]


# Failed health checks


def test_a_replica_that_does_not_answer_gets_no_calls_while_others_do():
    replicas = seen("1.0.1:r 1.1.1:r")
    silent = (replace(replicas[0], answers=False), replicas[1])
    view = View(silent, {"f": Route(("unix:f.1.0.1", "unix:f.1.1.1"))})
    assert told(reconcile([one(replicas=2)], view, NOW)) == ["publish f f.1.1.1"]
    all_silent = tuple(replace(one, answers=False) for one in replicas)
    assert told(reconcile([one(replicas=2)], replace(view, replicas=all_silent), NOW)) == []


# Crashes


def test_a_stable_replica_that_crashes_is_replaced_at_once():
    found = decide(one(), "1.0.1:x99.5", "f.1.0.1")
    assert told(found) == ["record crashed f.1.0.1", "publish f", "start f.1.0.2"]


def test_a_crash_is_recorded_once():
    view = View(seen("1.0.1:x99.5"), {"f": Route()})
    view = executed(view, reconcile([one()], view, NOW).actions)
    assert not [line for line in told(reconcile([one()], view, NOW)) if line.startswith("record")]


def test_the_delay_grows_with_quick_crashes_in_a_row():
    delays = []
    for count in range(1, 12):
        line = " ".join(f"1.0.{attempt}:!x{attempt}" for attempt in range(1, count + 1))
        now = count + 0.001
        found = decide(one(), line, now=now)
        assert found.due is not None
        delays.append(round(found.due - count, 6))
        started = decide(one(), line, now=found.due)
        assert f"start f.1.0.{count + 1}" in told(started)
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_a_stable_replica_resets_the_delay():
    line = "1.0.1:!x1 1.0.2:!x2 1.0.3:x50"
    assert "start f.1.0.4" in told(decide(one(), line, now=50.0))


def test_a_delayed_slot_does_not_delay_other_slots():
    found = decide(one(replicas=2), "1.0.1:!x99.9")
    assert "start f.1.1.1" in told(found)
    assert found.due == pytest.approx(100.4)


def test_a_crash_in_the_future_causes_no_delay():
    assert "start f.1.0.2" in told(decide(one(), "1.0.1:!x5000"))


def test_crashes_are_remembered_until_their_successor_is_stable():
    line = "1.0.1:!x98 1.0.2:r"
    recorded = frozenset({"f.1.0.1@98.000000"})
    found = decide(one(), line, "f.1.0.2", now=105, ready_at=99, recorded=recorded)
    assert (told(found), found.due) == ([], 99 + RULES.stable)
    found = decide(one(), line, "f.1.0.2", now=109, ready_at=99, recorded=recorded)
    assert (told(found), found.due) == (["forget f.1.0.1"], None)


def test_only_the_crashes_that_affect_the_delay_are_remembered():
    line = " ".join(f"1.0.{attempt}:!x{attempt}" for attempt in range(1, 12))
    forgotten = [line for line in told(decide(one(), line, now=12.0)) if "forget" in line]
    assert forgotten == ["forget f.1.0.1", "forget f.1.0.2", "forget f.1.0.3"]


def test_crashes_of_old_revisions_are_recorded_and_forgotten():
    found = decide(one(revision=2), "1.0.1:x99 2.0.1:r", "f.2.0.1")
    assert told(found) == ["record crashed f.1.0.1", "forget f.1.0.1"]


# Values


def test_an_id_can_be_read_back():
    key = ReplicaKey("a-b", 12, 3, 4)
    assert ReplicaKey.from_id(key.id) == key
    assert ReplicaKey.from_id(key.id + "-x7-f2") == key
    for text in ("a", "a.1.2", "a.1.2.3.4", "a.b.c.d"):
        with pytest.raises(ValueError, match=r"."):
            ReplicaKey.from_id(text)


def test_the_rules_have_the_documented_values():
    assert (RULES.stable, RULES.first_delay, RULES.longest_delay) == (10.0, 0.5, 60.0)
    assert (RULES.loop, RULES.memory, RULES.grace, RULES.grace_of_start) == (3, 8, 30.0, 2.0)


# Simulation


def live(seed: int) -> Simulation:
    dice = random.Random(seed)
    simulation = Simulation(dice)
    names = ["a", "b", "c"][: dice.choice([1, 1, 3])]
    happenings = [
        (simulation.deploy, 3),
        (simulation.scale, 2),
        (simulation.delete, 1),
        (simulation.try_canary, 1),
        (simulation.end_canary, 1),
        (simulation.roll_back, 1),
    ]
    for _ in range(dice.randrange(20, 80)):
        chance = dice.random()
        if chance < 0.2:
            do, _ = dice.choices(happenings, [weight for _, weight in happenings])[0]
            do(dice.choice(names))
        elif chance < 0.75:
            simulation.progress()
        elif chance < 0.8:
            simulation.restart_of_control_plane()
        elif chance < 0.81:
            simulation.restart_of_everything()
        else:
            simulation.now += dice.choice([0.1, 1, 12, 70, -5])
        if dice.random() < 0.7:
            simulation.take_turn()
    return simulation


@pytest.mark.parametrize("batch", range(10))
def test_under_random_faults_the_rules_hold_and_the_state_converges(batch):
    for seed in range(batch * 200, batch * 200 + 200):
        simulation = live(seed)
        simulation.settle()

        found = Counter((one.key.function, one.key.revision) for one in simulation.engine.values())
        wanted = {
            (one.function, one.revision): one.replicas
            for one in simulation.deployed.values()
            if one.replicas
        }
        wanted |= {
            (one.function, one.canary.revision): one.canaries
            for one in simulation.deployed.values()
            if one.canary and one.canaries
        }
        assert found == Counter(wanted), f"seed {seed}"
        assert all(one.state is ReplicaState.READY for one in simulation.engine.values())
        routes = {}
        for name, one in simulation.deployed.items():
            places = [
                tuple(
                    sorted(
                        replica.endpoint
                        for replica in simulation.engine.values()
                        if (replica.key.function, replica.key.revision) == (name, revision)
                    )
                )
                for revision in (one.revision, one.canary.revision if one.canary else 0)
            ]
            share = one.canary.share if one.canary and one.canaries else 0.0
            routes[name] = Route(places[0], places[1], share)
        assert simulation.routes == routes, f"seed {seed}"
        assert simulation.view.recorded == frozenset(), f"seed {seed}"


@pytest.mark.parametrize("batch", range(4))
def test_an_executed_turn_is_not_repeated(batch):
    for seed in range(batch * 100, batch * 100 + 100):
        simulation = live(seed)
        view = simulation.look()
        done: set[str] = set()
        for _ in range(3):
            found = reconcile(simulation.deployed.values(), view, simulation.now)
            assert not done & {*map(repr, found.actions)}, f"seed {seed}"
            done |= {*map(repr, found.actions)}
            view = executed(view, found.actions)
        assert reconcile(simulation.deployed.values(), view, simulation.now).actions == (), (
            f"seed {seed}"
        )


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_handler_that_never_starts_is_retried_with_growing_delays(replicas):
    simulation = Simulation(random.Random(0))
    simulation.deployed["f"] = one(replicas=replicas)
    starts = 0
    for _ in range(6000):
        starts += sum(line.startswith("start") for line in told(simulation.take_turn()))
        for each in list(simulation.engine.values()):
            if each.state is ReplicaState.STARTING:
                simulation.engine[each.key] = replace(each, state=ReplicaState.FAILED)
            elif each.state is ReplicaState.FAILED:
                simulation.end(each, asked=False)
        simulation.now += 0.1
    assert starts // replicas == 16  # 7 in the first minute, then one a minute
    assert len(simulation.engine) == replicas * RULES.memory
    assert len(simulation.recorded) == starts


def test_a_thousand_idle_functions_cause_no_action():
    wanted = [Wanted(f"f{number}", 1, 1 if number < 10 else 0) for number in range(1000)]
    view = View()
    for _ in range(2):
        view = executed(view, reconcile(wanted, view, NOW).actions)
    assert reconcile(wanted, view, NOW).actions == ()
