"""The cost of a stream through the gateway, relative to the same stream directly to the watcher."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from statistics import median

from bench.apps import ws_load
from bench.figures import Figure, alternate, progress
from bench.gateways import ECHO, Gateway, gateway, memory, packaged, scratch, write
from bench.servers import APPS, Server, watcher
from bench.watcher_echo import compared
from bench.watcher_stream import (
    FRAME,
    ROUNDS,
    WINDOW,
    address,
    drive,
    frames,
    rate,
    while_computing,
)

from dcf.engines.local.engine import PREFIX
from dcf.gateway.processes import ENVOY

DIRECT_BAR = 0.6
ROUND_TRIP_BAR = 0.5
"""Milliseconds."""

WARM_UP, WATCHED = 5.0, 60.0
"""Seconds."""
SLOWER = 10.0
"""How many times slower the reader is than the writer: it reads a tenth of what a fast
reader gets."""
MEMORY_BAR = 5.0
"""MiB."""


def measure() -> Iterator[Figure]:
    """Yield ratios of messages per second, the duration of one, and the cost of a slow reader."""
    with scratch() as folder:
        handler = (APPS / "streams" / "handler.py").read_text()
        built = packaged(write(folder / ECHO, handler), folder / "store")
        with gateway(folder) as ours, watcher(root=APPS / "streams") as direct:
            ours.deploy(built)
            servers = {"gateway": ours.server(), "direct": direct}
            sides = {name: rate(server, 64, WINDOW) for name, server in servers.items()}
            name = "64 B, 1 stream: gateway / watcher without it"
            yield compared(name, alternate(sides, ROUNDS), "direct", DIRECT_BAR, of="gateway")
            yield _round_trip(servers)
            large = {name: rate(server, FRAME, 32) for name, server in servers.items()}
            samples = alternate(large, ROUNDS)
            yield frames(samples["gateway"], samples["direct"], "without the gateway")
            yield while_computing(ours.server())
            yield from _slow_reader(ours)


def _round_trip(servers: dict[str, Server]) -> Figure:
    samples = alternate(
        {name: partial(_time_of_one, server) for name, server in servers.items()}, ROUNDS
    )
    through, without = median(samples["gateway"]) / 1000, median(samples["direct"]) / 1000
    raw = f"without the gateway {without:.3f} ms"
    name = "64 B, sequential: p50"
    return Figure(name, through, "ms", ROUND_TRIP_BAR, at_least=False, raw=raw)


def _time_of_one(server: Server) -> float:
    return drive(server, 64, 1)[1]


def _slow_reader(ours: Gateway) -> Iterator[Figure]:
    """Measure the memory of the processes on a stream's path while its reader is too slow."""
    pids = {name: status.pid for name, status in ours.processes().items()}
    (replica,) = (pid for name, pid in pids.items() if name.startswith(PREFIX))
    watched = {"replica": replica, "Envoy": pids[ENVOY]}
    with ws_load.connect(*address(ours.server(), "flood")) as peer:
        peer.sendall(ws_load.masked(b""))
        eager = _read(peer, WARM_UP, float("inf"))
        _read(peer, WARM_UP, eager / SLOWER)
        before = {name: memory(pid) for name, pid in watched.items()}
        progress(f"  reading for {WATCHED:.0f} s at {eager / SLOWER / 1e6:.0f} MB/s")
        greatest = dict(before)
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            _read(peer, 1.0, eager / SLOWER)
            greatest = {name: max(most, memory(watched[name])) for name, most in greatest.items()}
    for name, most in greatest.items():
        raw = f"from {before[name]:.1f} MiB; the writer could give {eager / 1e6:,.0f} MB/s"
        title = f"{WATCHED:.0f} s with a reader {SLOWER:.0f} x slower: growth of the {name}"
        yield Figure(title, most - before[name], "MiB", MEMORY_BAR, at_least=False, raw=raw)


def _read(peer: socket.socket, seconds: float, most: float) -> float:
    """Read for a while, at most so many bytes per second; return the number of bytes."""
    begin, taken = time.monotonic(), 0
    while (gone := time.monotonic() - begin) < seconds:
        if taken > most * gone:
            time.sleep(min(0.05, taken / most - gone))
        else:
            taken += len(peer.recv(1 << 18))
    return taken / seconds
