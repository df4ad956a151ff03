"""The loop brings about what the catalog wants, and finds everything again after a restart."""

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
from unit.controlplane.kit import House, running


def scenario(test):
    @wraps(test)
    def run(*fixtures, **named):
        asyncio.run(asyncio.wait_for(test(*fixtures, **named), 20))

    return run


def routed(house: House, name: str) -> list[str]:
    route = house.routing.confirmed().get(name)
    return [*route.endpoints, *route.canaries] if route else []


@scenario
async def test_a_deployed_function_gets_its_replicas_and_its_routes():
    async with running(House()) as house:
        house.deploy("a", replicas=2)
        await house.until(lambda: len(routed(house, "a")) == 2)
        assert len(house.living) == 2
        assert house.envoy.routes["a"] == sorted(house.envoy.routes["a"])


@scenario
async def test_a_replica_that_crashes_is_replaced_and_its_end_is_told():
    async with running(House()) as house:
        house.deploy("a")
        await house.until(lambda: routed(house, "a"))
        (first,) = house.living
        house.engine.crash(first)
        await house.until(lambda: house.living and first not in house.living)
        await house.until(lambda: routed(house, "a"))
        (event, *_) = house.catalog.journal.events("a")
        assert (event.kind, event.detail) == (EventKind.CRASHED, "killed by signal 9")


@scenario
async def test_a_clock_that_is_set_ends_no_start():
    ahead = 0.0
    async with running(House(clock=lambda: time.time() + ahead)) as house:
        house.deploy("a")
        await house.until(lambda: house.living, tick=False)
        (first,) = house.living
        ahead = 1_000_000.0
        before = house.loop.news()
        house.loop.wake()
        await before
        await house.until(lambda: routed(house, "a"))
        assert house.living == [first]


@scenario
async def test_no_call_waits_for_a_disk_that_is_slow_or_full(monkeypatch):
    async with running(House()) as house:
        house.deploy("a")
        await house.until(lambda: routed(house, "a"))
        (first,) = house.living
        free = threading.Event()
        record = house.catalog.journal.record

        def full(event):
            if not free.wait(0.1):
                raise DiskFull("no space is left")
            record(event)

        monkeypatch.setattr(house.catalog.journal, "record", full)
        house.engine.crash(first)
        await house.until(lambda: not house.envoy.routes)
        free.set()
        await house.until(lambda: routed(house, "a"))
        assert house.catalog.journal.events("a")[0].replica.startswith("a.1.0.1")


@scenario
async def test_a_deleted_function_loses_its_routes_before_its_replicas():
    async with running(House()) as house:
        house.deploy("a")
        await house.until(lambda: routed(house, "a"))
        house.envoy.takes.clear()
        house.catalog.delete("a")
        house.loop.wake()
        await house.until(lambda: "a" not in house.envoy.routes)
        await asyncio.sleep(0.05)
        assert house.living
        house.envoy.takes.set()
        await house.until(lambda: not house.living)
        await house.until(lambda: not house.routing.confirmed())


@scenario
async def test_another_loop_finds_what_lives_and_starts_nothing_twice():
    async with running(House()) as house:
        house.deploy("a", replicas=2)
        await house.until(lambda: len(routed(house, "a")) == 2)
    before = house.living
    async with running(House(house.catalog, house.engine)) as again:
        await again.loop.began()
        assert len(again.envoy.routes["a"]) == 2, "known before anybody asks"
        await again.until(lambda: len(routed(again, "a")) == 2)
        assert again.living == before


@scenario
async def test_what_cannot_be_laid_out_is_a_failed_start_that_is_tried_again():
    house = House()
    house.engine.start_error = BuildError("no such package")
    async with running(house):
        house.deploy("a")
        await house.until(lambda: len(house.catalog.journal.events("a")) >= 3)
        event = house.catalog.journal.events("a")[0]
        assert (event.kind, event.error) == (EventKind.START_FAILED, "BuildError")
        assert not house.living
        house.engine.start_error = None
        house.loop.reset_backoff("a")
        await house.until(lambda: routed(house, "a"))


@scenario
async def test_a_supervisor_that_is_away_for_a_moment_is_nobodys_crash():
    house = House()
    house.engine.start_error = SupervisorUnreachable("nobody listens")
    async with running(house):
        house.deploy("a")
        await house.until(lambda: house.loop.fleet.of("a"))
        await asyncio.sleep(0.15)
        house.engine.start_error = None
        await house.until(lambda: routed(house, "a"))
        assert [event.kind for event in house.catalog.journal.events("a")] == [EventKind.DEPLOYED]


@scenario
async def test_a_start_without_an_end_is_ended():
    house = House(watchers=WatcherSettings(start_timeout=-14.9))
    async with running(house):
        house.deploy("a")
        await house.until(lambda: len(house.catalog.journal.events("a")) > 1, tick=False)
        event = house.catalog.journal.events("a")[0]
        assert (event.kind, event.error) == (EventKind.START_FAILED, "StartTimeout")


@scenario
async def test_a_gpu_functions_old_replica_goes_before_its_new_one_comes():
    async with running(House()) as house:
        house.deploy("a", limits=Resources(gpu=1))
        await house.until(lambda: routed(house, "a"))
        house.deploy("a", limits=Resources(gpu=1), timeout=7.0)
        most = 0

        def replaced() -> bool:
            nonlocal most
            most = max(most, len(house.living))
            return any(".2." in replica for replica in house.living)

        await house.until(replaced)
        assert most == 1


@scenario
async def test_replicas_that_the_engine_lost_are_started_again_at_once():
    async with running(House()) as house:
        house.deploy("a")
        await house.until(lambda: routed(house, "a"))
        (one,) = house.loop.fleet.of("a")
        assert one.state is ReplicaState.READY
        house.loop.fleet.begin(())
        house.engine._replicas.clear()
        house.loop.wake()
        await house.until(lambda: house.living and routed(house, "a"))
        assert one.id not in house.living


@scenario
async def test_a_disk_that_stays_full_keeps_no_replica_from_starting_or_ending(monkeypatch):
    async with running(House()) as house:
        full = True

        def record(event):
            if full:
                raise DiskFull("no space is left")
            return kept(event)

        kept = house.catalog.journal.record
        monkeypatch.setattr(house.catalog.journal, "record", record)
        for name in ("a", "b"):
            house.deploy(name)
            await house.until(lambda name=name: routed(house, name))
        (first,) = [one for one in house.living if one.startswith("a")]
        house.engine.crash(first)
        await house.until(lambda: [one for one in house.living if one.startswith("a.1.0.2")])
        await house.until(lambda: routed(house, "a"))
        house.catalog.delete("b")
        house.loop.wake()
        await house.until(lambda: not [one for one in house.living if one.startswith("b")])
        full = False
        house.loop.wake()
        await house.until(lambda: len(house.catalog.journal.events("a")) == 2)
        assert house.catalog.journal.events("a")[0].replica.startswith("a.1.0.1")


@scenario
async def test_a_route_that_cannot_be_told_to_envoy_stops_no_other_function(monkeypatch, caplog):
    house = House()
    publish = house.envoy.set_function

    def picky(name, destinations, limits):
        if name == "bad":
            raise TypeError("this is no endpoint")
        return publish(name, destinations, limits)

    monkeypatch.setattr(house.envoy, "set_function", picky)
    async with running(house):
        house.deploy("bad")
        house.deploy("good")
        await house.until(lambda: routed(house, "good"))
        await house.loop.works()
    told = [one.getMessage() for one in caplog.records if "of bad failed" in one.getMessage()]
    assert len(told) == 1, "told once, not in each turn"


@scenario
async def test_a_turn_that_fails_by_a_defect_is_followed_by_another_one(monkeypatch):
    house = House()
    look = house.catalog.names
    fails = True

    def names():
        if fails:
            raise RuntimeError("a defect")
        return look()

    monkeypatch.setattr(house.catalog, "names", names)
    async with running(house):
        house.deploy("a")
        await house.loop.works()
        fails = False
        house.loop.wake()
        await house.until(lambda: routed(house, "a"))


@scenario
async def test_an_engine_that_tells_nonsense_is_looked_at_anew(monkeypatch):
    house = House()
    observe = house.engine.observe
    nonsense = iter([True, False])

    async def odd():
        if next(nonsense, False):
            yield "nonsense"
        async with contextlib.aclosing(observe()) as seen:
            async for item in seen:
                yield item

    monkeypatch.setattr(house.engine, "observe", odd)
    async with running(house):
        house.deploy("a")
        await house.until(lambda: routed(house, "a"))


@scenario
async def test_a_replica_that_says_it_failed_and_lives_on_is_ended(monkeypatch):
    monkeypatch.setattr("dcf.controlplane.replicas.replica_manager.OVERDUE", 0.05)
    async with running(House()) as house:
        house.deploy("a")
        await house.until(lambda: house.living)
        (first,) = house.living
        exit_ = ReplicaExit(None, 1.0, "it says so")
        house.engine._transition(house.engine._replicas[first], ReplicaState.FAILED, exit_=exit_)
        await house.until(lambda: house.living and first not in house.living)


@scenario
async def test_whether_it_works_is_known_by_a_turn():
    async with running(House()) as house:
        await house.loop.began()
        house.loop._turn = asyncio.Event().wait
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await house.loop.works()
