"""Replicas that stop answering, over real sockets and a fake engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dcf.control.view import Route
from dcf.gateway.health import answers_at
from dcf.model.replica import ReplicaState
from unit.gateway.kit import House, running


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


def test_who_does_not_answer_is_passed_over_taken_back_and_ended_at_last(tmp_path, monkeypatch):
    silent: set[str] = set()

    async def asked(endpoint: str, _patience: float) -> bool:
        return endpoint not in silent

    monkeypatch.setattr("dcf.gateway.health.answers_at", asked)

    async def check() -> None:
        async with running(House()) as house:
            house.deploy("a", replicas=2)

            def route() -> Route:
                return house.routing.confirmed().get("a") or Route()

            await house.until(lambda: len(route().endpoints) == 2)
            health = house.loop.health(interval=1.0, silence=4.0)
            first, second = route().endpoints
            silent.add(first)
            await health.look()
            assert first in route()
            await health.look()
            await house.until(lambda: route().endpoints == (second,))
            silent.clear()
            await health.look()
            await house.until(lambda: len(route().endpoints) == 2)
            silent.add(first)
            for _ in range(4):
                await health.look()
            await house.until(lambda: len(route().endpoints) == 2 and first not in route())
            events = house.catalog.journal.events("a")
            assert "did not answer for 4 s" in events[0].detail
            states = [one.state for one in house.loop.fleet.of("a")]
            assert states.count(ReplicaState.READY) == 2

    asyncio.run(asyncio.wait_for(check(), 20))


def test_who_promised_short_calls_is_ended_sooner(tmp_path, monkeypatch):
    silent: set[str] = set()

    async def asked(endpoint: str, _patience: float) -> bool:
        return endpoint not in silent

    monkeypatch.setattr("dcf.gateway.health.answers_at", asked)

    async def check() -> None:
        async with running(House()) as house:
            house.deploy("short", timeout=1.0)
            house.deploy("long", timeout=100.0)
            house.deploy("instant", timeout=0.01)
            await house.until(lambda: len([*filter(None, house.routing.confirmed().values())]) == 3)
            health = house.loop.health(interval=2.0, silence=30.0)
            silent.update(one.endpoint for one in house.loop.fleet.all())

            def reasons() -> list[str]:
                events = house.catalog.journal
                return [one.detail for name in NAMES for one in events.events(name)[:-1]]

            for _ in range(3):
                await health.look()
            assert reasons() == []
            await health.look()
            await house.until(lambda: reasons() == ["it did not answer for 8 s"] * 2)

    asyncio.run(asyncio.wait_for(check(), 20))


NAMES = ("short", "instant", "long")
