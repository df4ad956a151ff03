"""The logs of a function's replicas are merged in order, without loss or duplicates."""

import asyncio
import contextlib
from itertools import count

from dcf.controlplane import logs
from dcf.engines.base import ReplicaSpec
from dcf.engines.fake import FakeEngine
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId

ARTIFACT = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)
X, Y = ReplicaId("x"), ReplicaId("y")


class Printing:
    def __init__(self, *replicas: str, lines_at_a_time: int = 1) -> None:
        ticks = count(1000)
        self.engine = FakeEngine(clock=lambda: float(next(ticks) // lines_at_a_time))
        self.replicas = [ReplicaId(one) for one in replicas]
        self.news = asyncio.Event()

    async def start(self) -> None:
        for replica in self.replicas:
            await self.engine.start(ReplicaSpec(replica, "a", 1, FunctionSpec("a"), ARTIFACT))

    async def wait(self) -> None:
        await self.news.wait()
        self.news.clear()

    def follow(self, since: float = 0.0, tail: int | None = None):
        chosen = lambda: list(self.replicas)  # noqa: E731
        return logs.follow(self.engine, chosen, self.wait, since=since, tail=tail)


async def take(lines, number: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(5):
        while len(found) < number:
            line = await anext(lines)
            found.append(f"{line.replica}:{line.text}")
    return found


def test_lines_of_several_replicas_come_in_the_order_of_their_times():
    async def run():
        printing = Printing("x", "y", "never-began")
        await printing.start()
        for number, replica in enumerate([X, Y, Y, X, Y, X]):
            printing.engine.say(replica, str(number))
        past = logs.read(printing.engine, printing.replicas, since=0, tail=None)
        assert [line.text async for _, line in past] == list("012345")
        past = logs.read(printing.engine, [X, Y, ReplicaId("unknown")], since=0, tail=2)
        assert [line.text async for _, line in past] == list("45")

    asyncio.run(run())


def test_a_follower_gets_each_line_once_although_times_are_coarse():
    async def run():
        printing = Printing("x", lines_at_a_time=2)
        await printing.start()
        for number in range(5):
            printing.engine.say(X, str(number))
        async with contextlib.aclosing(printing.follow()) as lines:
            assert await take(lines, 5) == [f"x:{number}" for number in range(5)]
            following = asyncio.ensure_future(take(lines, 3))
            await asyncio.sleep(0.01)
            for number in range(5, 8):
                printing.engine.say(X, str(number))
            assert await following == [f"x:{number}" for number in range(5, 8)]

    asyncio.run(run())


def test_a_follower_gets_the_lines_of_later_replicas():
    async def run():
        printing = Printing("x")
        await printing.start()
        async with contextlib.aclosing(printing.follow(tail=0)) as lines:
            printing.engine.say(X, "old")
            following = asyncio.ensure_future(take(lines, 1))
            await asyncio.sleep(0.01)
            printing.replicas.append(Y)
            await printing.start()
            printing.engine.say(Y, "new")
            printing.news.set()
            assert await following == ["y:new"]

    asyncio.run(run())
