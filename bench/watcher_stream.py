"""The cost of a stream through the watcher, relative to a bare echo of its messages.

The bare echo is uvicorn on the same WebSocket library (``websockets-sansio``), with an ASGI
application that sends each message back on the server's loop. The watcher passes the messages to
the handler's thread and the replies back, with flow control, deadlines and cancellation. The client
runs in a separate process (``apps/ws_load.py``).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

from bench.apps import ws_load
from bench.apps.streams.handler import compute
from bench.figures import BenchFailed, Figure, alternate
from bench.servers import APPS, Server, echo, watcher
from bench.watcher_echo import compared

ROUNDS = 9
SECONDS = 1
WINDOW = 1000
"""Small messages in flight."""
FRAME = 50_000
"""Bytes of a camera's picture."""
SLOW = 3.0
"""Seconds for which a slow reader is observed."""

BARE_BAR = 0.5
FRAMES_BAR = 5000.0
FIRST_BAR = 2.0
"""Milliseconds."""
MEMORY_BAR = 16.0
"""MiB."""


def measure() -> Iterator[Figure]:
    """Yield rates relative to the bare echo, and the cost of a message and of a slow reader."""
    with (
        watcher(root=APPS / "streams") as stream,
        watcher() as each,
        echo(sys.executable, "uvicorn-websocket") as bare,
    ):
        servers = {"generator": stream, "each": each, "bare": bare}
        small = alternate(
            {name: rate(server, 64, WINDOW) for name, server in servers.items()}, ROUNDS
        )
        name = "64 B, 1 stream: generator / bare echo"
        yield compared(name, small, "bare", BARE_BAR, of="generator")
        name = "64 B, 1 stream: handler for each message / bare echo"
        yield compared(name, small, "bare", BARE_BAR, of="each")
        large = alternate(
            {name: rate(server, FRAME, 32) for name, server in servers.items()}, ROUNDS
        )
        yield frames(large["generator"], large["bare"])
        yield _round_trip(stream, bare)
        yield while_computing(stream)
        yield _cost(stream)
        yield _slow_reader(stream)


def drive(server: Server, size: int, window: int) -> tuple[float, float]:
    """Return messages per second, and the median of their durations in microseconds.

    Args:
        server: A server that echoes them.
        size: Bytes of each.
        window: Messages in flight; with 1, the durations are measured.

    Raises:
        BenchFailed: If the client fails.
    """
    host, port, path = address(server)
    arguments = [path, str(size), str(window), str(SECONDS)]
    command = [sys.executable, str(APPS / "ws_load.py"), host, str(port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"the client failed:\n{done.stderr}")
    rate, p50 = map(float, done.stdout.split())
    return rate, p50


def rate(server: Server, size: int, window: int) -> Callable[[], float]:
    """Return a burst that measures messages per second; arguments as for :func:`drive`."""
    return lambda: drive(server, size, window)[0]


def address(server: Server, path: str = "") -> tuple[str, int, str]:
    """Return host, port and path of a server, with ``path`` appended."""
    where, _, own = server.url.removeprefix("http://").partition("/")
    host, _, port = where.partition(":")
    return host, int(port), "/" + "/".join(filter(None, (own, path)))


def frames(samples: list[float], others: list[float], beside: str = "bare echo") -> Figure:
    """Return the figure of large messages, relative to another side."""
    raw = f"{beside} {median(others):,.0f}/s ({min(samples):,.0f}-{max(samples):,.0f})"
    return Figure("50 KB, 1 stream: messages", median(samples), "/s", FRAMES_BAR, raw=raw)


def _round_trip(ours: Server, bare: Server) -> Figure:
    samples = alternate(
        {"ours": lambda: drive(ours, 64, 1)[1], "bare": lambda: drive(bare, 64, 1)[1]}, ROUNDS
    )
    ours_, bare_ = median(samples["ours"]), median(samples["bare"])
    name = "64 B, sequential: added by the watcher"
    return Figure(name, ours_ - bare_, "us", raw=f"p50 {ours_:.0f} us - {bare_:.0f} us")


def while_computing(server: Server) -> Figure:
    """Measure the time from a yield to its reader while the handler continues in Python at once."""
    late = []
    with ws_load.connect(*address(server, "compute")) as peer:
        peer.sendall(ws_load.masked(b""))
        for _ in range(200):
            yielded = float(_message(peer))
            late.append((time.monotonic() - yielded) * 1000)
    late.sort()
    raw = f"p95 {late[190]:.2f} ms, greatest {late[-1]:.2f} ms"
    name = "from a yield to its reader, handler computing"
    return Figure(name, median(late), "ms", FIRST_BAR, at_least=False, raw=raw)


def _cost(server: Server) -> Figure:
    """Compare plain Python in a handler with the same code in this process."""
    with ws_load.connect(*address(server, "cost")) as peer:
        peer.sendall(ws_load.masked(b""))
        there = float(_message(peer))
    here = min(compute() for _ in range(50))
    raw = f"{there:.2f} ms / {here:.2f} ms"
    return Figure("a computation in a handler / in a bare Python", there / here, "x", raw=raw)


def _slow_reader(server: Server) -> Figure:
    """Measure the growth of the watcher's memory with a reader that is far too slow."""
    with ws_load.connect(*address(server, "flood")) as peer:
        peer.sendall(ws_load.masked(b""))
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            peer.recv(1 << 20)
        before, taken, until = server.rss(), 0, time.monotonic() + SLOW
        while time.monotonic() < until:
            taken += len(peer.recv(200_000))
            time.sleep(0.01)
        after = server.rss()
    raw = f"{before:.0f} MiB, then {after:.0f} MiB; {taken / SLOW / 1e6:.0f} MB/s read"
    name = "memory after 3 s with a slow reader"
    return Figure(name, after - before, "MiB", MEMORY_BAR, at_least=False, raw=raw)


def _message(peer: socket.socket) -> bytes:
    """Return a short message."""
    _, size = _exactly(peer, 2)
    return _exactly(peer, size)


def _exactly(peer: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = peer.recv(size - len(received))
        if not data:
            raise BenchFailed("the watcher closed the stream")
        received += data
    return received
