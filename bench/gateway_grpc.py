"""Invoke of ``pb.Gateway`` through the gateway, relative to a bare echo on grpcio.

On the gateway's path, only the function itself is Python. The two bare echoes do what a watcher
with a gRPC server of its own would do: no routing, no limits, no log.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.figures import Figure, alternate
from bench.gateways import ECHO, one_echo
from bench.grpc_load import find_h2load, rate
from bench.servers import APPS, ECHOED, free_port, started
from bench.watcher_echo import LARGE, compared

BAR = 1.0
IN_FLIGHT = {"32 connections": (32, 1), "1 connection": (1, 32)}
"""Connections, and concurrent calls on each."""
ROUNDS = 9
SECONDS = 1
LARGE_IN_FLIGHT = 4


def measure() -> Iterator[Figure]:
    """Yield ratios of calls per second."""
    find_h2load()
    with one_echo() as ours, _echo("aio") as aio, _echo("threads") as threads:
        ports = {"gateway": urlsplit(ours.url).port or 0, "aio": aio, "threads": threads}
        for title, (connections, streams) in IN_FLIGHT.items():
            samples = _rates(ports, ECHOED, connections, streams)
            name = f"Invoke, 64 B, 32 in flight, {title}: gateway"
            yield compared(f"{name} / bare grpc.aio", samples, "aio", BAR, "gateway")
            yield compared(f"{name} / grpc with 10 threads", samples, "threads", BAR, "gateway")
        samples = _rates(ports, LARGE, LARGE_IN_FLIGHT, 1)
        name = f"Invoke, 1 MB, {LARGE_IN_FLIGHT} connections: gateway / bare grpc.aio"
        yield compared(name, samples, "aio", None, "gateway")


def _rates(
    ports: Mapping[str, int], data: bytes, connections: int, streams: int
) -> dict[str, list[float]]:
    sides = {
        side: rate(port, ECHO, data, connections=connections, streams=streams, seconds=SECONDS)
        for side, port in ports.items()
    }
    return alternate(sides, ROUNDS)


@contextmanager
def _echo(kind: str) -> Iterator[int]:
    """Run an echo of ``apps/grpc_echo.py``; yield its port, where it answers soon."""
    port = free_port()
    command: list[str | Path] = [sys.executable, APPS / "grpc_echo.py", kind, str(port)]
    with tempfile.TemporaryFile("w+") as log, started(command, log):
        yield port
