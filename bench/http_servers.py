"""The HTTP server for the watcher, measured (docs/decisions/0003-http-server.md).

Compared are those that serve chunked bodies, WebSocket and a Unix socket in one process, each with
the least echo it allows (``apps/serve.py``), from one environment with the newest of each. The
first is the base of all ratios. All are up for the whole comparison; the load is alternated.
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
    """Yields ratios of calls in a second, microseconds of one call, and mebibytes."""
    python = environment("http-servers", PACKAGES)
    with contextlib.ExitStack() as stack:
        servers = {kind: stack.enter_context(echo(python, kind)) for kind in KINDS}
        memory = {kind: server.rss() for kind, server in servers.items()}
        yield from _rates("64 B, 32 connections", servers, ECHOED, 32)
        yield from _rates("1 MB, 4 connections", servers, LARGE, 4)
        waits = alternate({kind: _p50(server) for kind, server in servers.items()}, ROUNDS)
        for kind, found in waits.items():
            raw = f"({min(found):.0f}-{max(found):.0f})"
            yield Figure(f"64 B, 1 connection, p50: {kind}", median(found), "us", raw=raw)
        for kind, server in servers.items():
            raw = f"{server.rss():.0f} MiB after the load"
            yield Figure(f"memory, idle: {kind}", memory[kind], "MiB", raw=raw)


def _rates(
    name: str, servers: dict[str, Server], body: bytes, connections: int
) -> Iterator[Figure]:
    sides = {kind: rate(server, body, connections) for kind, server in servers.items()}
    found = alternate(sides, ROUNDS)
    for kind in KINDS:
        raw = f"{median(found[kind]):,.0f}/s ({spread(found, kind, BASE)})"
        yield Figure(f"{name}: {kind} / {BASE}", ratio(found, kind, BASE), "x", raw=raw)


def _p50(server: Server) -> Callable[[], float]:
    return lambda: drive(server.url, ECHOED, connections=1, seconds=SECONDS).p50
