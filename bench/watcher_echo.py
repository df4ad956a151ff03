"""The cost of the watcher: an echo through it, relative to an echo without it.

The watcher adds to its HTTP server what a handler needs: a thread, admission, deadlines, call ids,
timing. So it is compared with the bare server: uvicorn (httptools, uvloop) with an ASGI echo that
reads the whole body and sends it back, once with the watcher's settings (no access log, no Date and
no Server header), and once with the defaults of ``uvicorn.run(app)`` except for the access log. All
three use the same interpreter and run during the whole comparison; the load alternates.

LitServe is the most similar peer. It runs as its documentation shows, with one worker, and gets the
bytes as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

from bench.environments import environment
from bench.figures import Figure, alternate, ratio, spread
from bench.load import JSON, drive
from bench.servers import APPS, ECHOED, Server, echo, free_port, running, watcher

ROUNDS = 15
SECONDS = 1
LARGE = b"0123456789abcdef" * 62500
"""One megabyte."""
ASKED = json.dumps({"input": ECHOED.decode()}).encode()

BARE_BAR = 0.8
INLINE_BAR = 0.75
LITSERVE_BAR = 15.0
ADDED_BAR = 150.0
"""Microseconds."""


def measure() -> Iterator[Figure]:
    """Yield ratios of calls per second, and the added duration of a call."""
    with (
        watcher() as ours,
        echo(sys.executable, "uvicorn") as bare,
        echo(sys.executable, "uvicorn-run") as inline,
    ):
        small = alternate(
            {
                "watcher": rate(ours, ECHOED, 32),
                "bare": rate(bare, ECHOED, 32),
                "inline": rate(inline, ECHOED, 32),
            },
            ROUNDS,
        )
        yield compared("64 B, 32 connections: watcher / bare uvicorn", small, "bare", BARE_BAR)
        yield compared("64 B, 32 connections: watcher / uvicorn.run", small, "inline", INLINE_BAR)
        large = alternate({"watcher": rate(ours, LARGE, 4), "bare": rate(bare, LARGE, 4)}, ROUNDS)
        yield compared("1 MB, 4 connections: watcher / bare uvicorn", large, "bare", BARE_BAR)
        yield _added(ours, bare)
        yield _litserve(ours)


def rate(
    server: Server, body: bytes, connections: int, content_type: str | None = None
) -> Callable[[], float]:
    """Return a burst that measures calls per second."""
    more = {} if content_type is None else {"content_type": content_type}

    def once() -> float:
        return drive(server.url, body, connections=connections, seconds=SECONDS, **more).rate

    return once


def compared(
    name: str, samples: Mapping[str, list[float]], to: str, bar: float | None, of: str = "watcher"
) -> Figure:
    """Return the figure that compares rates."""
    rates = f"{median(samples[of]):,.0f}/s / {median(samples[to]):,.0f}/s"
    return Figure(
        name, ratio(samples, of, to), "x", bar, raw=f"{rates} ({spread(samples, of, to)})"
    )


def _added(ours: Server, bare: Server) -> Figure:
    def p50(server: Server) -> Callable[[], float]:
        return lambda: drive(server.url, ECHOED, connections=1, seconds=SECONDS).p50

    samples = alternate({"watcher": p50(ours), "bare": p50(bare)}, ROUNDS)
    each = [a - b for a, b in zip(samples["watcher"], samples["bare"], strict=True)]
    ours_, bare_ = median(samples["watcher"]), median(samples["bare"])
    raw = f"p50 {ours_:.0f} us - {bare_:.0f} us ({min(each):.0f}-{max(each):.0f})"
    name = "64 B, 1 connection: added by the watcher"
    return Figure(name, ours_ - bare_, "us", ADDED_BAR, at_least=False, raw=raw)


def _litserve(ours: Server) -> Figure:
    python = environment("litserve", ["litserve"])
    port = free_port()
    command: list[str | Path] = [python, APPS / "litserve_echo.py", str(port)]
    url = f"http://127.0.0.1:{port}/predict"
    with running(command, url, probe=ASKED, content_type=JSON) as theirs:
        sides = {"watcher": rate(ours, ECHOED, 32), "litserve": rate(theirs, ASKED, 32, JSON)}
        samples = alternate(sides, ROUNDS)
    return compared("64 B, 32 connections: watcher / LitServe", samples, "litserve", LITSERVE_BAR)
