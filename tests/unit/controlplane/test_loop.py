"""The control loop reaches the desired state, and continues after a restart."""

import asyncio
import contextlib
import threading
import time
from functools import wraps

import pytest

from dcf.errors import BuildError, DiskFull, SupervisorUnreachable
from dcf.model.event import EventKind
from dcf.model.function import Resources
from dcf.model.replica import ReplicaExit, ReplicaState
from dcf.settings import WatcherSettings
from unit.controlplane.kit import FakeGateway, running


def scenario(test):
    @wraps(test)
    def run(*fixtures, **named):
        asyncio.run(asyncio.wait_for(test(*fixtures, **named), 20))

    return run


def routed(gateway: FakeGateway, name: str) -> list[str]:
    route = gateway.routing.confirmed().get(name)
    return [*route.endpoints, *route.canaries] if route else []


@scenario
async def test_a_deployed_function_gets_its_replicas_and_its_routes():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a", replicas=2)
        await gateway.until(lambda: len(routed(gateway, "a")) == 2)
        assert len(gateway.living) == 2
        assert gateway.envoy.routes["a"] == sorted(gateway.envoy.routes["a"])


@scenario
async def test_a_crashed_replica_is_replaced_and_its_exit_recorded():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: routed(gateway, "a"))
        (first,) = gateway.living
        gateway.engine.crash(first)
        await gateway.until(lambda: gateway.living and first not in gateway.living)
        await gateway.until(lambda: routed(gateway, "a"))
        (event, *_) = gateway.catalog.event_log.events("a")
        assert (event.kind, event.detail) == (EventKind.CRASHED, "killed by signal 9")


@scenario
async def test_a_change_of_the_clock_ends_no_start():
    ahead = 0.0
    async with running(FakeGateway(clock=lambda: time.time() + ahead)) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: gateway.living, tick=False)
        (first,) = gateway.living
        ahead = 1_000_000.0
        before = gateway.loop.news()
        gateway.loop.wake()
        await before
        await gateway.until(lambda: routed(gateway, "a"))
        assert gateway.living == [first]


@scenario
async def test_no_call_waits_for_a_disk_that_is_slow_or_full(monkeypatch):
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: routed(gateway, "a"))
        (first,) = gateway.living
        free = threading.Event()
        record = gateway.catalog.event_log.record

        def full(event):
            if not free.wait(0.1):
                raise DiskFull("no space is left")
            record(event)

        monkeypatch.setattr(gateway.catalog.event_log, "record", full)
        gateway.engine.crash(first)
        await gateway.until(lambda: not gateway.envoy.routes)
        free.set()
        await gateway.until(lambda: routed(gateway, "a"))
        assert gateway.catalog.event_log.events("a")[0].replica.startswith("a.1.0.1")


@scenario
async def test_a_deleted_function_loses_its_routes_before_its_replicas():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: routed(gateway, "a"))
        gateway.envoy.takes.clear()
        gateway.catalog.delete("a")
        gateway.loop.wake()
        await gateway.until(lambda: "a" not in gateway.envoy.routes)
        await asyncio.sleep(0.05)
        assert gateway.living
        gateway.envoy.takes.set()
        await gateway.until(lambda: not gateway.living)
        await gateway.until(lambda: not gateway.routing.confirmed())


@scenario
async def test_another_loop_finds_running_replicas_and_starts_none_twice():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a", replicas=2)
        await gateway.until(lambda: len(routed(gateway, "a")) == 2)
    before = gateway.living
    async with running(FakeGateway(gateway.catalog, gateway.engine)) as again:
        await again.loop.began()
        assert len(again.envoy.routes["a"]) == 2, "known before anybody asks"
        await again.until(lambda: len(routed(again, "a")) == 2)
        assert again.living == before


@scenario
async def test_an_error_while_preparing_files_is_a_failed_start_that_is_retried():
    gateway = FakeGateway()
    gateway.engine.start_error = BuildError("no such package")
    async with running(gateway):
        gateway.deploy("a")
        await gateway.until(lambda: len(gateway.catalog.event_log.events("a")) >= 3)
        event = gateway.catalog.event_log.events("a")[0]
        assert (event.kind, event.error) == (EventKind.START_FAILED, "BuildError")
        assert not gateway.living
        gateway.engine.start_error = None
        gateway.loop.reset_backoff("a")
        await gateway.until(lambda: routed(gateway, "a"))


@scenario
async def test_a_short_absence_of_the_supervisor_is_not_a_crash():
    gateway = FakeGateway()
    gateway.engine.start_error = SupervisorUnreachable("nobody listens")
    async with running(gateway):
        gateway.deploy("a")
        await gateway.until(lambda: gateway.loop.registry.of("a"))
        await asyncio.sleep(0.15)
        gateway.engine.start_error = None
        await gateway.until(lambda: routed(gateway, "a"))
        assert [event.kind for event in gateway.catalog.event_log.events("a")] == [
            EventKind.DEPLOYED
        ]


@scenario
async def test_a_start_that_does_not_end_is_aborted():
    gateway = FakeGateway(watchers=WatcherSettings(start_timeout=-14.9))
    async with running(gateway):
        gateway.deploy("a")
        await gateway.until(lambda: len(gateway.catalog.event_log.events("a")) > 1, tick=False)
        event = gateway.catalog.event_log.events("a")[0]
        assert (event.kind, event.error) == (EventKind.START_FAILED, "StartTimeout")


@scenario
async def test_the_old_replica_of_a_gpu_function_stops_before_the_new_one_starts():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a", limits=Resources(gpu=1))
        await gateway.until(lambda: routed(gateway, "a"))
        gateway.deploy("a", limits=Resources(gpu=1), timeout=7.0)
        most = 0

        def replaced() -> bool:
            nonlocal most
            most = max(most, len(gateway.living))
            return any(".2." in replica for replica in gateway.living)

        await gateway.until(replaced)
        assert most == 1


@scenario
async def test_replicas_that_the_engine_lost_are_started_again_at_once():
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: routed(gateway, "a"))
        (one,) = gateway.loop.registry.of("a")
        assert one.state is ReplicaState.READY
        gateway.loop.registry.begin(())
        gateway.engine._replicas.clear()
        gateway.loop.wake()
        await gateway.until(lambda: gateway.living and routed(gateway, "a"))
        assert one.id not in gateway.living


@scenario
async def test_a_disk_that_stays_full_keeps_no_replica_from_starting_or_ending(monkeypatch):
    async with running(FakeGateway()) as gateway:
        full = True

        def record(event):
            if full:
                raise DiskFull("no space is left")
            return kept(event)

        kept = gateway.catalog.event_log.record
        monkeypatch.setattr(gateway.catalog.event_log, "record", record)
        for name in ("a", "b"):
            gateway.deploy(name)
            await gateway.until(lambda name=name: routed(gateway, name))
        (first,) = [one for one in gateway.living if one.startswith("a")]
        gateway.engine.crash(first)
        await gateway.until(lambda: [one for one in gateway.living if one.startswith("a.1.0.2")])
        await gateway.until(lambda: routed(gateway, "a"))
        gateway.catalog.delete("b")
        gateway.loop.wake()
        await gateway.until(lambda: not [one for one in gateway.living if one.startswith("b")])
        full = False
        gateway.loop.wake()
        await gateway.until(lambda: len(gateway.catalog.event_log.events("a")) == 2)
        assert gateway.catalog.event_log.events("a")[0].replica.startswith("a.1.0.1")


@scenario
async def test_a_route_that_cannot_be_published_affects_no_other_function(monkeypatch, caplog):
    gateway = FakeGateway()
    publish = gateway.envoy.set_function

    def picky(name, destinations, limits):
        if name == "bad":
            raise TypeError("this is no endpoint")
        return publish(name, destinations, limits)

    monkeypatch.setattr(gateway.envoy, "set_function", picky)
    async with running(gateway):
        gateway.deploy("bad")
        gateway.deploy("good")
        await gateway.until(lambda: routed(gateway, "good"))
        await gateway.loop.works()
    told = [one.getMessage() for one in caplog.records if "of bad failed" in one.getMessage()]
    assert len(told) == 1, "told once, not in each turn"


@scenario
async def test_after_an_unexpected_error_the_next_turn_follows(monkeypatch):
    gateway = FakeGateway()
    look = gateway.catalog.names
    fails = True

    def names():
        if fails:
            raise RuntimeError("a defect")
        return look()

    monkeypatch.setattr(gateway.catalog, "names", names)
    async with running(gateway):
        gateway.deploy("a")
        await gateway.loop.works()
        fails = False
        gateway.loop.wake()
        await gateway.until(lambda: routed(gateway, "a"))


@scenario
async def test_after_an_invalid_observation_a_new_one_starts(monkeypatch):
    gateway = FakeGateway()
    observe = gateway.engine.observe
    nonsense = iter([True, False])

    async def odd():
        if next(nonsense, False):
            yield "nonsense"
        async with contextlib.aclosing(observe()) as seen:
            async for item in seen:
                yield item

    monkeypatch.setattr(gateway.engine, "observe", odd)
    async with running(gateway):
        gateway.deploy("a")
        await gateway.until(lambda: routed(gateway, "a"))


@scenario
async def test_a_replica_that_reports_a_failure_but_keeps_running_is_ended(monkeypatch):
    monkeypatch.setattr("dcf.controlplane.replicas.replica_manager.OVERDUE", 0.05)
    async with running(FakeGateway()) as gateway:
        gateway.deploy("a")
        await gateway.until(lambda: gateway.living)
        (first,) = gateway.living
        exit_ = ReplicaExit(None, 1.0, "it says so")
        gateway.engine._transition(
            gateway.engine._replicas[first], ReplicaState.FAILED, exit_=exit_
        )
        await gateway.until(lambda: gateway.living and first not in gateway.living)


@scenario
async def test_a_liveness_check_waits_for_a_turn():
    async with running(FakeGateway()) as gateway:
        await gateway.loop.began()
        gateway.loop._turn = asyncio.Event().wait
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gateway.loop.works()
