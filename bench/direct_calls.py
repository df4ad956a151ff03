"""What it brings to send a small reply in one write (``dcf.watcher.whole``).

The watcher as it is, beside a watcher that leaves every reply to uvicorn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from bench.figures import Figure, alternate
from bench.load import drive
from bench.servers import APPS, ECHOED, Server, watcher
from bench.watcher_echo import ROUNDS, SECONDS, compared, rate


def measure() -> Iterator[Figure]:
    """Yields the ratio of calls in a second, and the time that one call gains."""
    with watcher() as ours, watcher(starter=[APPS / "two_writes.py"]) as plain:
        found = alternate(
            {"watcher": rate(ours, ECHOED, 32), "plain": rate(plain, ECHOED, 32)}, ROUNDS
        )
        yield compared("64 B, 32 connections: one write / two", found, "plain", None)
        yield _gained(ours, plain)


def _gained(ours: Server, plain: Server) -> Figure:
    def p50(server: Server) -> Callable[[], float]:
        return lambda: drive(server.url, ECHOED, connections=1, seconds=SECONDS).p50

    found = alternate({"watcher": p50(ours), "plain": p50(plain)}, ROUNDS)
    one, two = median(found["watcher"]), median(found["plain"])
    each = [a - b for a, b in zip(found["watcher"], found["plain"], strict=True)]
    raw = f"p50 {one:.0f} us - {two:.0f} us ({min(each):.0f} to {max(each):.0f})"
    return Figure("64 B, 1 connection: one write - two", one - two, "us", raw=raw)
