"""The gain of handling small calls without ASGI (``dcf.watcher.http.http_protocol``).

It compares the watcher with a watcher that leaves every call to uvicorn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from bench.figures import Figure, alternate
from bench.load import drive
from bench.servers import APPS, ECHOED, Server, watcher
from bench.watcher_echo import ROUNDS, SECONDS, compared, rate


def measure() -> Iterator[Figure]:
    """Yield the ratio of calls per second, and the time saved per call."""
    with watcher() as ours, watcher(starter=[APPS / "by_asgi.py"]) as plain:
        samples = alternate(
            {"watcher": rate(ours, ECHOED, 32), "plain": rate(plain, ECHOED, 32)}, ROUNDS
        )
        yield compared("64 B, 32 connections: direct / by ASGI", samples, "plain", None)
        yield _gained(ours, plain)


def _gained(ours: Server, plain: Server) -> Figure:
    def p50(server: Server) -> Callable[[], float]:
        return lambda: drive(server.url, ECHOED, connections=1, seconds=SECONDS).p50

    samples = alternate({"watcher": p50(ours), "plain": p50(plain)}, ROUNDS)
    direct, asgi = median(samples["watcher"]), median(samples["plain"])
    each = [a - b for a, b in zip(samples["watcher"], samples["plain"], strict=True)]
    raw = f"p50 {direct:.0f} us - {asgi:.0f} us ({min(each):.0f} to {max(each):.0f})"
    return Figure("64 B, 1 connection: direct - by ASGI", direct - asgi, "us", raw=raw)
