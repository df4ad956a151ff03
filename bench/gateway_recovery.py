"""How fast a gateway starts, how fast it recovers when a part of it is killed, and its idle memory.

A process is killed only after its supervisor counts its run as good: a process that ends sooner is
restarted with a delay.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from statistics import median

from bench.figures import Figure, alternate
from bench.gateways import (
    ECHO,
    Gateway,
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

from dcf.errors import NotReady
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY, RESTARTS

ROUNDS = 5
BAR = 1.0


def measure() -> Iterator[Figure]:
    """Yield seconds and mebibytes."""
    with one_echo() as ours:
        yield from _memory(ours)
        samples = alternate(
            {
                "control": lambda: _control_killed(ours),
                "envoy": lambda: _envoy_killed(ours),
            },
            ROUNDS,
            warm=False,
        )
    samples |= _starts()
    for name, side, bar in (
        ("gateway start to its first answer", "answer", None),
        ("gateway start to the first call of a deployed function", "call", None),
        ("control plane killed to the next change applied", "control", BAR),
        ("Envoy killed to the next call", "envoy", BAR),
    ):
        times = samples[side]
        raw = f"{median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"
        yield Figure(name, median(times), "s", bar, at_least=False, raw=raw)


def _memory(ours: Gateway) -> Iterator[Figure]:
    processes = ours.processes()
    replica = next(status.pid for name, status in processes.items() if name.startswith("replica."))
    for name, pid in (
        ("control plane", processes[CONTROL].pid),
        ("bridge", processes[BRIDGE].pid),
        ("Envoy", processes[ENVOY].pid),
        ("supervisor", ours.supervisor()),
        ("gateway start", ours.pid),
        ("a replica", replica),
    ):
        yield Figure(f"memory, idle: {name}", memory(pid), "MiB")


def _starts() -> dict[str, list[float]]:
    """Return the seconds from the command, for a gateway with a function in its catalog."""
    samples: dict[str, list[float]] = {"answer": [], "call": []}
    with scratch() as folder:
        built = packaged(write(folder / ECHO), folder / "store")
        with gateway(folder) as ours:
            ours.deploy(built)
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            with gateway(folder) as ours:
                samples["answer"].append(time.perf_counter() - begin)
                until(lambda: ours.client.call(ECHO, ECHOED))
                samples["call"].append(time.perf_counter() - begin)
    return samples


def _control_killed(ours: Gateway) -> float:
    """Return the seconds until the next control plane has applied a change and Envoy follows it."""
    begin = _kill(ours, CONTROL)
    until(lambda: ours.client.scale(ECHO, 0))
    until_refused(lambda: ours.client.call(ECHO, ECHOED), NotReady)
    seconds = time.perf_counter() - begin
    ours.serve()
    return seconds


def _envoy_killed(ours: Gateway) -> float:
    """Return the seconds until a call succeeds."""
    begin = _kill(ours, ENVOY)
    until(lambda: ours.client.call(ECHO, ECHOED))
    return time.perf_counter() - begin


def _kill(ours: Gateway, name: str) -> float:
    """Kill a process that has run long enough; return the time, by the clock of figures."""
    process = ours.processes()[name]
    time.sleep(max(0.0, process.since + RESTARTS.settled - time.time()))
    begin = time.perf_counter()
    os.kill(process.pid, signal.SIGKILL)
    return begin
