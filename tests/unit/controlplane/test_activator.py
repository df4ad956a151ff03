"""Calls wait for a replica, unless waiting is in vain."""

import asyncio
import contextlib
import time

import pytest

from dcf.controlplane.activation.activator import ActivationRefused, Activator
from dcf.errors import (
    DeadlineExceeded,
    FunctionNotFound,
    HandlerInitFailed,
    NotReady,
    Overloaded,
    ReplicaExited,
    StorageError,
)
from dcf.model.function import FunctionSpec
from dcf.model.scaling import ScalingSpec
from dcf.reconciler.backoff import BackoffRules
from unit.controlplane.kit import ARTIFACT, RULES, FakeGateway, running
from unit.controlplane.test_loop import scenario


class Site(FakeGateway):
    """A control plane with held calls."""

    def __init__(self, *, rules: BackoffRules = RULES, **more) -> None:
        super().__init__()
        self.loop._rules = rules
        self.asked: list[str] = []
        given = {"most": 3, "most_in_all": 5, "patience": 10.0, **more}
        self.holding = Activator(
            self.catalog, self.loop, self.routing, activate=self.activate, rules=rules, **given
        )

    async def activate(self, name: str) -> None:
        self.asked.append(name)
        await asyncio.to_thread(self.catalog.decide, name, 1, "a call is waiting")
        self.loop.wake()

    def call(self, name: str = "a", deadline: float | None = None) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.holding.hold(name, time.time(), deadline))

    async def call_until_ready(self) -> None:
        call = self.call()
        await self.until(call.done)
        assert call.result() is None

    async def until_held(self, number: int = 1, name: str = "a") -> None:
        await self.until(lambda: self.holding.waiting().get(name, 0) == number, tick=False)


@contextlib.asynccontextmanager
async def open_site(**more):
    site = Site(**more)
    async with running(site):
        task = asyncio.create_task(site.holding.run())
        try:
            yield site
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert not site.holding.waiting()


async def refusal(call: asyncio.Task[None]) -> ActivationRefused:
    with pytest.raises(ActivationRefused) as caught:
        await call
    return caught.value


@scenario
async def test_calls_wait_for_the_first_replica():
    async with open_site() as site:
        site.deploy("a")
        calls = [site.call(), site.call()]
        await site.until_held(2)
        assert not any(call.done() for call in calls)
        await site.until(lambda: all(call.done() for call in calls))
        assert [call.result() for call in calls] == [None, None]
        assert site.asked == [], "it is to have one anyway"
        await site.call()  # continues at once


@scenario
async def test_a_call_waits_until_envoy_has_confirmed_the_route():
    async with open_site() as site:
        site.envoy.takes.clear()
        site.deploy("a")
        call = site.call()
        await site.until(lambda: "a" in site.envoy.routes)
        await asyncio.sleep(0.05)
        assert not call.done()
        site.envoy.takes.set()
        await call


@scenario
async def test_calls_wait_for_the_successor_of_a_killed_replica():
    async with open_site() as site:
        site.deploy("a")
        await site.call_until_ready()
        site.engine.crash(site.living[0])
        await site.until(lambda: not site.routing.confirmed().get("a"), tick=False)
        await site.call_until_ready()


@scenario
async def test_calls_do_not_wait_long_for_a_replica_that_crashes_repeatedly():
    async with open_site(rules=BackoffRules(first_delay=30.0)) as site:
        site.deploy("a")
        await site.call_until_ready()
        site.engine.crash(site.living[0])
        await site.until(lambda: not site.routing.confirmed().get("a"), tick=False)
        refused = await refusal(site.call())
        assert isinstance(refused.error, ReplicaExited)
        assert 25 < refused.retry_after <= 30


@scenario
async def test_a_failed_start_ends_all_waits_and_the_next_call_tries_again():
    rules = BackoffRules(first_delay=0.3, longest_delay=0.3)
    async with open_site(rules=rules) as site:
        site.engine.fail_starts("a", "HandlerInitFailed", "Traceback: no model")
        site.deploy("a")
        calls = [site.call(), site.call()]
        await site.until(lambda: all(call.done() for call in calls))
        for call in calls:
            error = (await refusal(call)).error
            assert isinstance(error, HandlerInitFailed)
            assert error.traceback == "Traceback: no model"
        # During the restart delay, calls do not wait.
        assert isinstance((await refusal(site.call())).error, HandlerInitFailed)
        # Then the gateway tries again.
        site.engine._failing.clear()
        await site.until(lambda: site.living, tick=False)
        call = site.call()
        await site.until_held()
        await site.until(call.done)
        assert call.result() is None


@scenario
async def test_calls_of_unknown_and_deleted_functions_do_not_wait():
    async with open_site() as site:
        site.deploy("hello")
        error = (await refusal(site.call("helo"))).error
        assert isinstance(error, FunctionNotFound)
        assert error.near == ("hello",)
        call = site.call("hello")
        await site.until_held(1, "hello")
        site.catalog.delete("hello")
        site.loop.wake()
        assert isinstance((await refusal(call)).error, FunctionNotFound)


@scenario
async def test_calls_of_a_function_that_is_scaled_to_0_by_hand_do_not_wait():
    async with open_site() as site:
        site.deploy("a")
        site.catalog.scale("a", 0)
        site.loop.wake()
        error = (await refusal(site.call())).error
        assert isinstance(error, NotReady)
        assert "scaled to 0" in str(error)
        assert site.asked == []


@scenario
async def test_a_call_starts_a_function_at_zero():
    async with open_site() as site:
        site.catalog.deploy(FunctionSpec("a"), ARTIFACT, wish=ScalingSpec(minimum=0, maximum=2))
        site.catalog.decide("a", 0, "nobody calls")
        site.loop.wake()
        await site.call_until_ready()
        assert set(site.asked) == {"a"}


@scenario
async def test_an_error_of_the_activation_is_reported():
    async with open_site() as site:

        async def full(_name: str) -> None:
            raise StorageError("no space")

        site.holding._activate = full
        site.catalog.deploy(FunctionSpec("a"), ARTIFACT, wish=ScalingSpec(minimum=0, maximum=2))
        site.catalog.decide("a", 0, "nobody calls")
        assert isinstance((await refusal(site.call())).error, StorageError)


@scenario
async def test_the_number_of_waiting_calls_is_limited():
    async with open_site() as site:
        site.deploy("a")
        site.deploy("b")
        calls = [site.call() for _ in range(3)]
        await site.until_held(3)
        error = (await refusal(site.call())).error
        assert isinstance(error, Overloaded)
        assert "already waiting for a" in str(error)
        calls += [site.call("b") for _ in range(2)]
        await site.until_held(2, "b")
        assert "5 calls are already waiting for replicas" in str(
            (await refusal(site.call("b"))).error
        )
        assert site.holding.waiting() == {"a": 3, "b": 2}
        calls[0].cancel()
        await site.until_held(2)
        calls.append(site.call())
        await site.until(lambda: all(call.done() for call in calls))
        assert [call.result() for call in calls[1:]] == [None] * 5


@scenario
async def test_a_call_waits_until_its_deadline():
    async with open_site(patience=0.05) as site:
        site.deploy("a")
        refused = await refusal(site.call(deadline=0.02))
        assert isinstance(refused.error, DeadlineExceeded)
        assert "0.02 s" in str(refused.error)
        # A call without a deadline waits for the default time.
        assert isinstance((await refusal(site.call())).error, NotReady)
        # A call may be late when it arrives: Envoy asks again after a restart.
        old = asyncio.ensure_future(site.holding.hold("a", time.time() - 60, 50.0))
        assert isinstance((await refusal(old)).error, DeadlineExceeded)
