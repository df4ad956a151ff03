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
from unit.controlplane.kit import House, running


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
def test_any_answer_is_one(tmp_path, reply, answers):
    async def check() -> None:
        async with listening(tmp_path / "s", reply) as endpoint:
            assert await answers_at(endpoint, 5.0) is answers

    asyncio.run(check())


def test_silence_and_absence_are_none(tmp_path):
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
    """Replicas that do not answer, each for as long as it would keep its caller waiting."""

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
async def watched(house: House, silence: float) -> AsyncIterator[None]:
    health = asyncio.create_task(house.loop.health(interval=INTERVAL, silence=silence).run())
    try:
        yield
    finally:
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)


def test_who_does_not_answer_is_passed_over_taken_back_and_ended_at_last(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(House()) as house, watched(house, 0.4):
            house.deploy("a", replicas=2)

            def route() -> Route:
                return house.routing.confirmed().get("a") or Route()

            await house.until(lambda: len(route().endpoints) == 2)
            first, second = route().endpoints
            silence.of.add(first)
            await house.until(lambda: route().endpoints == (second,))
            silence.of.clear()
            await house.until(lambda: len(route().endpoints) == 2)
            house.engine.suspend(
                next(one.id for one in house.loop.registry.all() if one.endpoint == first)
            )
            silence.of.add(first)
            await house.until(lambda: len(route().endpoints) == 2 and first not in route())
            events = house.catalog.event_log.events("a")
            assert events[0].detail == "it did not answer for 0.4 s, and its process is stopped"
            states = [one.state for one in house.loop.registry.of("a")]
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
        async with running(House()) as house, watched(house, 0.4):
            house.deploy("a", timeout=timeout)
            await house.until(lambda: bool(house.routing.confirmed().get("a")))
            (one,) = house.loop.registry.all()
            if is_suspended:
                house.engine.suspend(one.id)
            silence.of.add(one.endpoint)
            begin = time.monotonic()
            await house.until(lambda: one.state is not ReplicaState.READY)
            # At full speed: a question without an answer takes no longer than its interval.
            assert after - INTERVAL <= time.monotonic() - begin < after + 8 * INTERVAL + 0.5
            await house.until(lambda: one.id not in house.engine.specs)
            logged = [line.text async for line in house.engine.logs(one.id)]
            assert logged == ([] if is_suspended else ["Thread (most recent call first):"])

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_replica_may_be_silent_for_as_long_as_a_call_of_its_function_may_take(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(House()) as house, watched(house, 0.2):
            house.deploy("a")
            await house.until(lambda: bool(house.routing.confirmed().get("a")))
            (one,) = house.loop.registry.all()
            silence.of.add(one.endpoint)
            await house.until(lambda: silence.asked.get(one.endpoint, 0) > 20)
            assert one.state is ReplicaState.READY

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_silent_replica_delays_no_question_to_another(monkeypatch):
    silence = Silence(monkeypatch)

    async def check() -> None:
        async with running(House()) as house, watched(house, 30):
            house.deploy("a", replicas=2)
            await house.until(
                lambda: len((house.routing.confirmed().get("a") or Route()).endpoints) == 2
            )
            first, second = (one.endpoint for one in house.loop.registry.all())
            silence.of.add(first)
            await house.until(lambda: silence.asked.get(first, 0) > 2)
            before = dict(silence.asked)
            await house.until(lambda: silence.asked[second] >= before.get(second, 0) + 10)
            assert silence.asked[first] - before[first] <= 12

    asyncio.run(asyncio.wait_for(check(), 20))
