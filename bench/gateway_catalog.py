"""A gateway with 1,000 functions, ten with a replica, relative to a gateway with one function."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.figures import MILLISECOND, Figure, alternate, progress, seconds_of
from bench.gateway_calls import p50, slower
from bench.gateways import (
    ECHO,
    Gateway,
    fill,
    gateway,
    memory,
    one_echo,
    packaged,
    scratch,
    until,
    until_refused,
    write,
)
from bench.servers import ECHOED
from bench.watcher_echo import ROUNDS

from dcf.builder.package import Package
from dcf.errors import FunctionNotFound, NotReady
from dcf.gateway.processes import CONTROL, ENVOY

FUNCTIONS = 1000
RUNNING = 10
CHANGES = 15
MEMORY_BAR = 300.0
LIST_BAR = 0.2
CALL_BAR = 1.1
CHANGE_BAR = 0.1


def measure() -> Iterator[Figure]:
    """Yield mebibytes, seconds, and a ratio of the durations of a call."""
    with scratch() as folder, one_echo() as small:
        built = packaged(write(folder / ECHO), folder / "store")
        with gateway(folder) as large:
            large.deploy(built)
            for number in range(1, RUNNING):
                large.deploy(built, f"{ECHO}-{number}")
        progress(f"  entering {FUNCTIONS} functions")
        fill(large.places, built, range(RUNNING, FUNCTIONS))
        with gateway(folder) as large:
            until(lambda: large.client.call(ECHO, ECHOED))
            yield from _beside(large, small, built)


def _beside(large: Gateway, small: Gateway, built: Package) -> Iterator[Figure]:
    yield _times("1,000 functions: list", _listing(large), LIST_BAR)
    samples = alternate({"gateway": p50(large.server()), "small": p50(small.server())}, ROUNDS)
    yield slower("64 B, 1 connection, p50: 1,000 functions / one", samples, "small", CALL_BAR)
    for name, ours in (("1,000 functions", large), ("one function", small)):
        bar = CHANGE_BAR if ours is large else None
        yield _times(f"{name}: scaled to 0 to the first rejected call", _scaling(ours), bar)
    yield _times("1,000 functions: deleted to unknown", _deleting(large, built), CHANGE_BAR)
    processes = large.processes()
    control, envoy = memory(processes[CONTROL].pid), memory(processes[ENVOY].pid)
    name = "1,000 functions: memory of the control plane"
    yield Figure(name, control, "MiB", MEMORY_BAR, at_least=False)
    yield Figure("1,000 functions: memory of Envoy", envoy, "MiB")


def _listing(large: Gateway) -> list[float]:
    def listing() -> float:
        return seconds_of(large.client.functions)

    return alternate({"list": listing}, CHANGES)["list"]


def _scaling(ours: Gateway) -> list[float]:
    """Return the seconds from scaling to 0 until the first call that gets no replica."""

    def once() -> float:
        def scale() -> None:
            ours.client.scale(ECHO, 0)
            until_refused(lambda: ours.client.call(ECHO, ECHOED), NotReady)

        try:
            return seconds_of(scale)
        finally:
            ours.serve()

    return alternate({"scale": once}, CHANGES)["scale"]


def _deleting(ours: Gateway, built: Package) -> list[float]:
    """Return the seconds from deleting a function until a call finds no such function."""
    name = f"{ECHO}-1"

    def once() -> float:
        def delete() -> None:
            ours.client.delete(name)
            until_refused(lambda: ours.client.call(name, ECHOED), FunctionNotFound)

        try:
            return seconds_of(delete)
        finally:
            ours.deploy(built, name)

    return alternate({"delete": once}, CHANGES)["delete"]


def _times(name: str, times: list[float], bar: float | None) -> Figure:
    low, high = (number / MILLISECOND for number in (min(times), max(times)))
    raw = f"{median(times) / MILLISECOND:.0f} ms ({low:.0f}-{high:.0f})"
    return Figure(name, median(times), "s", bar, at_least=False, raw=raw)
