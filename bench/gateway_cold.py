"""Calls of functions without a replica: the gateway holds them until a replica is ready.

A call of an idle function starts a replica: the process starts, loads the interpreter, the watcher
and the handler, Envoy gets the route, and the call continues.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.figures import Figure, alternate, progress, ratio, seconds_of, spread
from bench.gateways import ECHO, Gateway, fill, gateway, memory, packaged, scratch, write
from bench.servers import ECHOED

from dcf.builder.package import Package
from dcf.client.async_client import AsyncClient
from dcf.errors import DcfError
from dcf.gateway.processes import CONTROL, ENVOY

EXAMPLE = Path(__file__).parent.parent / "examples" / "01-hello-dcf"
HELLO = "hello-dcf"
ROUNDS = 7
FIRST_BAR = 1.0
BURST = 200
BURST_ROUNDS = 3
FUNCTIONS = 1000
MEMORY_BAR = 300.0
AMONG_BAR = 1.2


def measure() -> Iterator[Figure]:
    """Yield seconds, failed calls, mebibytes, and a ratio of durations."""
    with scratch() as folder:
        built = packaged(write(folder / ECHO), folder / "store")
        with gateway(folder / "many") as large:
            large.deploy(built, minimum=0)
        progress(f"  entering {FUNCTIONS} functions")
        fill(large.places, built, range(1, FUNCTIONS))
        with gateway(folder / "one") as small:
            for package, name in ((_example(folder), HELLO), (built, ECHO)):
                small.deploy(package, name, minimum=0)
            yield from _from_nothing(small)
            yield from _burst(small)
            with gateway(folder / "many") as large:
                yield from _among(large, small)


def _from_nothing(ours: Gateway) -> Iterator[Figure]:
    samples = alternate({name: _first(ours, name) for name in (HELLO, ECHO)}, ROUNDS)
    for name, times in samples.items():
        raw = f"({min(times):.2f}-{max(times):.2f})"
        title = f"{name}: from no replica to the first reply"
        yield Figure(title, median(times), "s", FIRST_BAR, at_least=False, raw=raw)


def _among(large: Gateway, small: Gateway) -> Iterator[Figure]:
    samples = alternate({"among": _first(large, ECHO), "alone": _first(small, ECHO)}, ROUNDS)
    seconds = f"{median(samples['among']):.2f} s / {median(samples['alone']):.2f} s"
    raw = f"{seconds} ({spread(samples, 'among', 'alone')})"
    title = "first reply: among 1,000 functions at rest / alone"
    yield Figure(title, ratio(samples, "among", "alone"), "x", AMONG_BAR, at_least=False, raw=raw)
    processes = large.processes()
    control, envoy = memory(processes[CONTROL].pid), memory(processes[ENVOY].pid)
    title = "1,000 functions at rest: memory of the control plane"
    yield Figure(title, control, "MiB", MEMORY_BAR, at_least=False)
    yield Figure("1,000 functions at rest: memory of Envoy", envoy, "MiB")


def _example(folder: Path) -> Package:
    """Package a copy of the example: a build writes a lock beside its requirements."""
    copy = folder / EXAMPLE.name
    shutil.copytree(EXAMPLE, copy)
    return packaged(copy, folder / "store")


def _first(ours: Gateway, name: str) -> Callable[[], float]:
    def once() -> float:
        ours.rest(name)
        return seconds_of(lambda: ours.client.call(name, ECHOED))

    return once


def _burst(ours: Gateway) -> Iterator[Figure]:
    async def call(client: AsyncClient) -> bool:
        try:
            return await client.call(ECHO, ECHOED) == ECHOED
        except DcfError as error:
            progress(f"  {error}")
            return False

    async def burst() -> list[bool]:
        async with AsyncClient(ours.url) as client:
            return await asyncio.gather(*(call(client) for _ in range(BURST)))

    answered: list[bool] = []
    times = []
    for _ in range(BURST_ROUNDS):
        ours.rest(ECHO)
        times.append(seconds_of(lambda: answered.extend(asyncio.run(burst()))))
    raw = f"all answered after {median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"
    title = f"{BURST} calls of a function without a replica: failed"
    yield Figure(title, answered.count(False), "", 0, at_least=False, raw=raw)
