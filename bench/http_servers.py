"""Compares HTTP servers for the watcher (docs/decisions/0003-http-server.md).

The candidates serve chunked bodies, WebSocket and a Unix socket in one process. Each has the
smallest possible echo (``apps/serve.py``), in one environment with the newest version of each. The
first server is the base of all ratios. All run during the whole comparison; the load alternates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import median

from bench.environments import environment
from bench.figures import Figure, alternate, ratio, spread
from bench.load import drive
from bench.servers import ECHOED, Server, echo
from bench.watcher_echo import LARGE, rate

PACKAGES = ["uvicorn", "httptools", "uvloop", "h11", "hypercorn", "granian", "aiohttp"]
KINDS = (
    "uvicorn",
    "uvicorn-h11",
    "hypercorn",
    "granian-asgi",
    "granian-rsgi",
    "granian-worker",
    "aiohttp",
)
BASE = KINDS[0]
ROUNDS = 5
SECONDS = 2


def measure() -> Iterator[Figure]:
    """Yield ratios of calls per second, microseconds of a call, and mebibytes."""
    python = environment("http-servers", PACKAGES)
    with contextlib.ExitStack() as stack:
        servers = {kind: stack.enter_context(echo(python, kind)) for kind in KINDS}
        memory = {kind: server.rss() for kind, server in servers.items()}
        yield from _rates("64 B, 32 connections", servers, ECHOED, 32)
        yield from _rates("1 MB, 4 connections", servers, LARGE, 4)
        waits = alternate({kind: _p50(server) for kind, server in servers.items()}, ROUNDS)
        for kind, samples in waits.items():
            raw = f"({min(samples):.0f}-{max(samples):.0f})"
            yield Figure(f"64 B, 1 connection, p50: {kind}", median(samples), "us", raw=raw)
        for kind, server in servers.items():
            raw = f"{server.rss():.0f} MiB after the load"
            yield Figure(f"memory, idle: {kind}", memory[kind], "MiB", raw=raw)


def _rates(
    name: str, servers: dict[str, Server], body: bytes, connections: int
) -> Iterator[Figure]:
    sides = {kind: rate(server, body, connections) for kind, server in servers.items()}
    samples = alternate(sides, ROUNDS)
    for kind in KINDS:
        raw = f"{median(samples[kind]):,.0f}/s ({spread(samples, kind, BASE)})"
        yield Figure(f"{name}: {kind} / {BASE}", ratio(samples, kind, BASE), "x", raw=raw)


def _p50(server: Server) -> Callable[[], float]:
    return lambda: drive(server.url, ECHOED, connections=1, seconds=SECONDS).p50
