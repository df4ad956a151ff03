"""Rollouts under load: the calls that fail, and how fast a revision serves.

wrk calls continuously over 32 connections while revisions are deployed, rolled back, tried as a
canary with half of the calls and promoted, one after another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from statistics import median

from bench.figures import BenchFailed, Figure
from bench.gateways import ECHO, Gateway, gateway, packaged, scratch, write
from bench.load import Load, count
from bench.servers import APPS, ECHOED

from dcf.builder.package import Package

SECONDS = 12
CALLS = 20_000
"""The minimum load for a meaningful result."""
ROLLBACK_BAR = 1.0


def measure() -> Iterator[Figure]:
    """Yield failed calls and seconds."""
    with scratch() as folder:
        handler = (APPS / "handler.py").read_text()
        texts = [handler, f"{handler}\nCHANGED = True\n"]
        built = [
            packaged(write(folder / str(number) / ECHO, text), folder / "store")
            for number, text in enumerate(texts)
        ]
        with gateway(folder) as ours:
            ours.deploy(built[0])
            yield from _under_load(ours, "rollout", _deploying(ours, built), None)
            yield from _under_load(ours, "rollback", _going_back(ours), ROLLBACK_BAR)
            yield from _under_load(ours, "canary and promotion", _trying(ours, built), None)


def _under_load(
    ours: Gateway, name: str, change: Callable[[], object], bar: float | None
) -> Iterator[Figure]:
    times: list[float] = []
    url = ours.server().url
    with ThreadPoolExecutor(1) as pool:
        load: Future[Load] = pool.submit(
            lambda: count(url, ECHOED, connections=32, seconds=SECONDS)
        )
        while not load.done():
            begin = time.perf_counter()
            change()
            times.append(time.perf_counter() - begin)
    burst = load.result()
    if burst.calls < CALLS:
        raise BenchFailed(f"{burst.calls} calls are too few for a result")
    raw = f"{burst.calls:,} calls during {len(times)} changes"
    yield Figure(f"{name}: failed calls", burst.failed, "", 0, at_least=False, raw=raw)
    raw = f"({min(times):.2f}-{max(times):.2f})"
    yield Figure(f"{name}: until it serves", median(times), "s", bar, at_least=False, raw=raw)


def _deploying(ours: Gateway, built: list[Package]) -> Callable[[], object]:
    turn = cycle(reversed(built))
    return lambda: ours.deploy(next(turn))


def _going_back(ours: Gateway) -> Callable[[], object]:
    newest = ours.client.revisions(ECHO)[0].number
    turn = cycle((newest - 1, newest))

    return lambda: ours.client.rollback(ECHO, next(turn))


def _trying(ours: Gateway, built: list[Package]) -> Callable[[], object]:
    turn = cycle(built)

    def change() -> None:
        package = next(turn)
        current = ours.client.function(ECHO)
        if current.artifact == package.artifact.digest:
            package = next(turn)
        ours.client.deploy(package, canary=50)
        ours.client.promote(ECHO)

    return change
