"""Replicas that stop answering, over real sockets and a fake engine."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dcf.controlplane.replicas.health import answers_at
from dcf.model.replica import ReplicaState
from dcf.reconciler.types import Route
from dcf.settings import WatcherSettings
from unit.controlplane.kit import FakeGateway, running


@asynccontextmanager
async def listening(path: Path, reply: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("reply", "answers"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 503 No\r\n", True)]
)
def test_any_reply_passes_the_health_check(tmp_path, reply, answers):
    async def check() -> None:
        async with listening(tmp_path / "s", reply) as endpoint:
            assert await answers_at(endpoint, 5.0) is answers

    asyncio.run(check())


def test_silence_and_absence_fail_the_health_check(tmp_path):
    async def check() -> None:
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(tmp_path / "s"))
            mute.listen()
            assert not await answers_at(f"unix:{tmp_path}/s", 0.05)
        assert not await answers_at(f"unix:{tmp_path}/none", 1.0)
        assert not await answers_at("tcp:127.0.0.1:1", 1.0)
        assert not await answers_at("tcp:[::1]:1", 1.0)

    asyncio.run(check())


INTERVAL = 0.05


class Silence:
    """Replicas that do not answer within the timeout."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: set[str] = set()
        self.asked: dict[str, int] = {}
        monkeypatch.setattr("dcf.controlplane.replicas.health.answers_at", self._ask)

    async def _ask(self, endpoint: str, patience: float) -> bool:
        self.asked[endpoint] = self.asked.get(endpoint, 0) + 1
        if endpoint in self.of:
            await asyncio.sleep(patience)
        return endpoint not in self.of


@asynccontextmanager
async def watched(gateway: FakeGateway, silence: float) -> AsyncIterator[None]:
    health = asyncio.create_task(gateway.loop.health(interval=INTERVAL, silence=silence).run())
    try:
        yield
    finally:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)


def test_a_silent_replica_gets_no_calls_until_it_answers_and_is_ended_at_last(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(FakeGateway()) as gateway, watched(gateway, 0.4):
            gateway.deploy("a", replicas=2)

            def route() -> Route:
                return gateway.routing.confirmed().get("a") or Route()

            await gateway.until(lambda: len(route().endpoints) == 2)
            first, second = route().endpoints
            silence.of.add(first)
            await gateway.until(lambda: route().endpoints == (second,))
            silence.of.clear()
            await gateway.until(lambda: len(route().endpoints) == 2)
            gateway.engine.suspend(
                next(one.id for one in gateway.loop.registry.all() if one.endpoint == first)
            )
            silence.of.add(first)
            await gateway.until(lambda: len(route().endpoints) == 2 and first not in route())
            events = gateway.catalog.event_log.events("a")
            assert events[0].detail == "it did not answer for 0.4 s, and its process is stopped"
            states = [one.state for one in gateway.loop.registry.of("a")]
            assert states.count(ReplicaState.READY) == 2

    asyncio.run(asyncio.wait_for(check(), 20))


@pytest.mark.parametrize(
    ("timeout", "is_suspended", "after"),
    [
        (100.0, True, 0.4),
        (4.95, False, 5.0),
        (4.95, True, 0.4),
        (0.05, False, 0.2),
        (0.05, True, 0.2),
    ],
)
def test_the_calls_of_a_function_decide_how_long_a_replica_may_be_silent(
    monkeypatch, timeout, is_suspended, after
):
    silence = Silence(monkeypatch)
    monkeypatch.setattr(
        "dcf.controlplane.loop.WatcherSettings", lambda: WatcherSettings(grace=0.05)
    )

    async def check() -> None:
        async with running(FakeGateway()) as gateway, watched(gateway, 0.4):
            gateway.deploy("a", timeout=timeout)
            await gateway.until(lambda: bool(gateway.routing.confirmed().get("a")))
            (one,) = gateway.loop.registry.all()
            if is_suspended:
                gateway.engine.suspend(one.id)
            silence.of.add(one.endpoint)
            begin = time.monotonic()
            await gateway.until(lambda: one.state is not ReplicaState.READY)
            # Checks continue at their interval, because each times out after one.
            assert after - INTERVAL <= time.monotonic() - begin < after + 8 * INTERVAL + 0.5
            await gateway.until(lambda: one.id not in gateway.engine.specs)
            logged = [line.text async for line in gateway.engine.logs(one.id)]
            assert logged == ([] if is_suspended else ["Thread (most recent call first):"])

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_replica_may_be_silent_for_as_long_as_a_call_of_its_function_may_take(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(FakeGateway()) as gateway, watched(gateway, 0.2):
            gateway.deploy("a")
            await gateway.until(lambda: bool(gateway.routing.confirmed().get("a")))
            (one,) = gateway.loop.registry.all()
            silence.of.add(one.endpoint)
            await gateway.until(lambda: silence.asked.get(one.endpoint, 0) > 20)
            assert one.state is ReplicaState.READY

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_silent_replica_delays_no_other_health_check(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(FakeGateway()) as gateway, watched(gateway, 30):
            gateway.deploy("a", replicas=2)
            await gateway.until(
                lambda: len((gateway.routing.confirmed().get("a") or Route()).endpoints) == 2
            )
            first, second = (one.endpoint for one in gateway.loop.registry.all())
            silence.of.add(first)
            await gateway.until(lambda: silence.asked.get(first, 0) > 2)
            before = dict(silence.asked)
            await gateway.until(lambda: silence.asked[second] >= before.get(second, 0) + 10)
            assert silence.asked[first] - before[first] <= 12

    asyncio.run(asyncio.wait_for(check(), 20))
