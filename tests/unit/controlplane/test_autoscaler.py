"""The autoscaler with a catalog in memory, fake counters of Envoy and a fake clock."""

from __future__ import annotations

import asyncio
import math

from dcf.catalog.catalog import Catalog
from dcf.controlplane.activation.autoscaler import Autoscaler
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.scaling import ScalingSpec
from dcf.model.traffic import Latency, Traffic

ARTIFACT = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class Envoy:
    """A fake ``TrafficPoller``."""

    def __init__(self) -> None:
        self.traffic: dict[str, Traffic] = {}

    async def poll(self) -> dict[str, Traffic]:
        return dict(self.traffic)


class Stage:
    def __init__(self, wish: ScalingSpec, concurrency: int | None = None) -> None:
        self.catalog = Catalog(None)
        self.catalog.deploy(FunctionSpec("f", concurrency=concurrency), ARTIFACT, wish=wish)
        self.envoy = Envoy()
        self.now = 0.0
        self.held: dict[str, int] = {}
        self.woken = 0
        self.scaler = Autoscaler(
            self.catalog,
            self.envoy,  # type: ignore[arg-type]
            held=lambda: self.held,
            wake=self._wake,
            clock=lambda: self.now,
        )

    def _wake(self) -> None:
        self.woken += 1

    def after(self, seconds: int, **counted: object) -> list[int]:
        """Return the desired number of replicas for each second."""
        found = []
        for _ in range(seconds):
            self.now += 1
            self.envoy.traffic["f"] = Traffic(**counted)  # type: ignore[arg-type]
            asyncio.run(self.scaler.scale_all())
            found.append(self.catalog.function("f").scaling.replicas)
        return found


def test_calls_in_progress_add_replicas_and_their_end_removes_them():
    stage = Stage(ScalingSpec(1, 5))
    assert stage.after(2, in_flight=4)[-1] == 4
    assert stage.woken == 1
    assert stage.after(40)[-1] == 1
    details = [event.detail for event in stage.catalog.event_log.events("f")]
    assert details[-2] == "4 (1 to 5), 4 calls in progress"


def test_the_default_target_is_the_concurrency():
    assert Stage(ScalingSpec(1, 5), concurrency=4).after(3, in_flight=8)[-1] == 2
    assert Stage(ScalingSpec(1, 5, target=2.0), concurrency=4).after(3, in_flight=8)[-1] == 4


def test_short_calls_are_counted_by_their_durations():
    stage = Stage(ScalingSpec(1, 9))
    stage.after(1)
    for second in range(1, 5):
        count = 3000 * second
        latency = Latency({0.001: 0, 0.002: count, math.inf: count})
        found = stage.after(1, calls=count, latency=latency)
    assert found == [5]


def test_one_short_call_now_and_then_keeps_the_last_replica():
    stage = Stage(ScalingSpec(0, 1, idle=10.0))
    for count in range(1, 6):
        assert set(stage.after(8, calls=count)) == {1}
    assert stage.after(11, calls=5)[-1] == 0
    assert stage.after(1, calls=6) == [1]


def test_a_held_call_starts_a_function_unless_it_was_switched_off():
    stage = Stage(ScalingSpec(0, 5, idle=5.0))
    assert stage.after(10)[-1] == 0
    asyncio.run(stage.scaler.activate("f"))
    assert stage.catalog.function("f").scaling.replicas == 1
    stage.held = {"f": 3}
    assert stage.after(1) == [3]
    stage.catalog.scale("f", 0)
    asyncio.run(stage.scaler.activate("f"))
    assert stage.after(2) == [0, 0]


def test_a_restarted_envoy_counts_from_zero():
    stage = Stage(ScalingSpec(1, 5))
    stage.after(1, calls=1000, latency=Latency({1.0: 1000, math.inf: 1000}))
    latency = Latency({1.0: 2, math.inf: 2})
    assert stage.after(2, calls=2, latency=latency)[-1] == 1
