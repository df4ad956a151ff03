"""Handlers of streams, by path."""

import time
from collections.abc import Iterator
from typing import Any

STEPS = 50_000


def compute() -> float:
    """Run plain Python for some milliseconds; return how many."""
    begin = time.perf_counter()
    total = 0
    for step in range(STEPS):
        total += step * step
    return (time.perf_counter() - begin) * 1000


def Handler(req: Any) -> Iterator[Any]:  # noqa: N802  the name that a handler has
    """Echo, compute, or send more than anybody reads."""
    match req.path:
        case "/compute":
            # The time of the yield, for a reader with the same clock.
            for _ in range(200):
                yield str(time.monotonic())
                compute()
        case "/cost":
            yield str(min(compute() for _ in range(50)))
        case "/flood":
            while not req.cancelled:
                yield bytes(100_000)
        case _:
            yield from req.stream
