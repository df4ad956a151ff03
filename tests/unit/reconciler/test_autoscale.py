"""Decisions about the number of replicas, with a fake clock and loads of known shapes."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from dcf.model.scaling import Scaling
from dcf.model.traffic import Latency
from dcf.reconciler.autoscale import Load, decide, worked

PERIOD = 1.0
Shape = Callable[[float], float]


def follow(
    shape: Shape, seconds: int, scaling: Scaling, target: float = 1.0, noise: float = 0.0
) -> list[int]:
    """Return the number of replicas after each sample, beginning with the first number."""
    dice = random.Random(1)
    loads: list[Load] = []
    busy_at = 0.0
    found = [scaling.replicas]
    for step in range(1, seconds + 1):
        now = step * PERIOD
        # A sample is the average of its period.
        parts = [shape(now - PERIOD * part / 10) for part in range(10)]
        under_way = max(0.0, sum(parts) / 10 + dice.uniform(-noise, noise))
        loads.append(Load(now, under_way))
        if under_way:
            busy_at = now
        scaling = scaling.autoscaled(decide(scaling, target, loads, busy_at))
        found.append(scaling.replicas)
    return found


def turns(replicas: list[int]) -> int:
    """Return how often the numbers change their direction."""
    steps = [after - before for before, after in pairwise(replicas)]
    signs = [math.copysign(1, step) for step in steps if step]
    return sum(a != b for a, b in pairwise(signs))


def test_a_step_adds_replicas_within_two_periods_and_removes_them_after_the_memory():
    found = follow(lambda at: 10 if 20 < at <= 60 else 0, 120, Scaling(1, 20, 1))
    assert set(found[:21]) == {1}
    assert found[22] == 10
    assert set(found[22:61]) == {10}
    assert set(found[92:]) == {1}
    assert turns(found) == 1


def test_the_load_is_divided_by_the_target_within_the_limits():
    assert follow(lambda _: 10, 5, Scaling(1, 20, 1), target=4)[-1] == 3
    assert follow(lambda _: 1000, 5, Scaling(1, 7, 1))[-1] == 7
    assert follow(lambda _: 0, 60, Scaling(2, 7, 5))[-1] == 2


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_load_that_just_fills_its_replicas_adds_none(noise):
    found = follow(lambda _: 4.0, 300, Scaling(1, 20, 4), noise=noise)
    assert turns(found) == 0
    assert max(found) <= 5


def test_a_spike_causes_at_most_one_rise_and_one_fall():
    found = follow(lambda at: 30 if 20 < at <= 21 else 0.5, 90, Scaling(1, 50, 1))
    assert found[22] > 10
    assert found[-1] == 1
    assert turns(found) == 1


@pytest.mark.parametrize("length", [4, 10, 25])
def test_fast_waves_and_sawteeth_get_replicas_for_their_peaks(length):
    for shape in (
        lambda at: 10 + 8 * math.sin(2 * math.pi * at / length),
        lambda at: 18 * (at % length) / length,
    ):
        found = follow(shape, 300, Scaling(1, 50, 1))
        assert turns(found) == 0
        assert len(set(found[60:])) == 1


def test_a_slow_wave_is_followed_without_flapping():
    length = 300
    found = follow(
        lambda at: 10 + 9 * math.sin(2 * math.pi * at / length), 1200, Scaling(1, 50, 1), noise=0.5
    )
    assert max(found) in {19, 20, 21}
    assert min(found[100:]) <= 4
    assert turns(found) <= 2 * 1200 / length
    for step, replicas in enumerate(found[2:], start=2):
        wanted = 10 + 9 * math.sin(2 * math.pi * (step - 2) / length)
        assert replicas >= min(wanted, 10 + 9 * math.sin(2 * math.pi * step / length)) - 1.5


def test_a_slow_sawtooth_rises_with_its_load_and_falls_once():
    found = follow(lambda at: 20 * (at % 200) / 200, 600, Scaling(1, 50, 1))
    assert turns(found) <= 6
    assert max(found) == 20


# Scaling to zero


def test_an_idle_function_scales_to_zero():
    scaling = Scaling(0, 3, 1, idle=40)
    found = follow(lambda at: 1 if at <= 10 else 0, 100, scaling)
    assert found[49] == 1
    assert set(found[51:]) == {0}


def test_a_function_at_zero_stays_there_until_a_call():
    """A restarted control plane has not observed an idle period."""
    scaling = Scaling(0, 3, 0, idle=40)
    found = follow(lambda at: 1 if at > 10 else 0, 20, scaling)
    assert set(found[:11]) == {0}
    assert found[12] == 1


def test_a_minimum_is_kept():
    assert follow(lambda _: 0, 100, Scaling(1, 3, 3, idle=10))[-1] == 1


def test_held_calls_add_replicas_at_once():
    scaling = Scaling(0, 50, 0, idle=30)
    assert decide(scaling, 1.0, [Load(100.0, 0.0, 1)], 100.0) == 1
    assert decide(scaling, 10.0, [Load(99.0, 0.0), Load(100.0, 0.0, 200)], 100.0) == 20


def test_without_certain_observations_no_replica_is_removed():
    """A restarted control plane has no samples."""
    assert decide(Scaling(0, 5, 2, idle=30), 1.0, [Load(0.0, 1.5)], 0.0) == 2


# Durations of ended calls


def test_an_ended_call_counts_for_at_most_the_period():
    before = Latency({0.1: 1, 1.0: 1, 10.0: 1, math.inf: 1}, 0.05)
    after = Latency({0.1: 11, 1.0: 12, 10.0: 14, math.inf: 15}, 0.0)
    assert worked(before, after, 1.0) == pytest.approx(10 * 0.05 + 0.55 + 2 * 1.0 + 1.0)
    assert worked(after, after, 1.0) == 0.0
    assert worked(Latency(), Latency(), 1.0) == 0.0
