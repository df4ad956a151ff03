"""A gRPC stream through the gateway, relative to grpcio's own server with the same echo.

The gateway runs as ``dcf-cli gateway start`` starts it: Envoy, the bridge, Envoy again, one
replica. The bare echo is grpcio's asyncio server and nothing else; its threaded server is measured
as well. The load is a stream whose frames are made in advance, because no Python client of gRPC is
fast enough. The load, Envoy, the bridge and the replica share the machine's cores; the bare echo
shares them only with the load.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from statistics import median

from bench import grpc_streams
from bench.figures import MILLISECOND, Figure, alternate, ratio, spread
from bench.gateways import ECHO, Gateway, gateway, memory, packaged, scratch, until, write
from bench.servers import APPS, ECHOED, free_port, started

from dcf.errors import GatewayUnreachable
from dcf.gateway.processes import BRIDGE

BAR = 0.5
MEMORY_BAR = 60.0
ROUNDS = 5
MESSAGES = 20_000
AHEAD = 256
"""Messages in flight."""
ALONE = 1000

GENERATOR = """
async def Handler(req):
    async for message in req.stream:
        yield message
"""


def measure() -> Iterator[Figure]:
    """Yield ratios of messages per second, and the memory of the bridge."""
    with contextlib.ExitStack() as stack:
        ports = {kind: stack.enter_context(_bare(kind)) for kind in ("aio", "threads")}
        folder = stack.enter_context(scratch())
        functions = {
            ECHO: packaged(write(folder / ECHO), folder / "store"),
            "generator": packaged(write(folder / "generator", GENERATOR), folder / "store"),
        }
        ours = stack.enter_context(gateway(folder))
        for name, function in functions.items():
            ours.deploy(function, name)
        ports |= dict.fromkeys(functions, int(ours.url.rpartition(":")[2]))
        yield from _rates(ports)
        yield _delay(ports)
        yield Figure("memory of the bridge", _held(ours), "MiB", MEMORY_BAR, at_least=False)


def _rates(ports: dict[str, int]) -> Iterator[Figure]:
    samples = alternate(
        {
            side: partial(
                grpc_streams.rate,
                port,
                side if side not in {"aio", "threads"} else ECHO,
                ECHOED,
                messages=MESSAGES,
                ahead=AHEAD,
            )
            for side, port in ports.items()
        },
        ROUNDS,
    )
    for side, title, bar in (
        (ECHO, "handler for each message", BAR),
        ("generator", "async generator", BAR),
    ):
        for bare in ("aio", "threads"):
            yield Figure(
                f"64 B, {AHEAD} ahead: {title} / bare grpcio, {bare}",
                ratio(samples, side, bare),
                "x",
                bar if bare == "aio" else None,
                raw=f"{median(samples[side]):,.0f} / {median(samples[bare]):,.0f} messages/s"
                f" ({spread(samples, side, bare)})",
            )


def _delay(ports: dict[str, int]) -> Figure:
    samples = alternate(
        {
            side: partial(grpc_streams.delay, ports[side], ECHO, ECHOED, messages=ALONE)
            for side in (ECHO, "aio")
        },
        ROUNDS,
    )
    return Figure(
        "64 B, sequential: gateway / bare grpcio, aio",
        ratio(samples, ECHO, "aio"),
        "x",
        raw=f"{median(samples[ECHO]) / MILLISECOND:.2f}"
        f" / {median(samples['aio']) / MILLISECOND:.2f} ms ({spread(samples, ECHO, 'aio')})",
    )


def _held(ours: Gateway) -> float:
    return memory(ours.processes()[BRIDGE].pid)


@contextlib.contextmanager
def _bare(kind: str) -> Iterator[int]:
    """Run a bare echo of ``apps/grpc_echo.py``; yield its port."""
    port = free_port()

    def answers() -> None:
        try:
            grpc_streams.rate(port, ECHO, ECHOED, messages=1, ahead=1)
        except OSError as error:
            raise GatewayUnreachable(str(error)) from error

    with (
        tempfile.TemporaryFile("w+") as log,
        started([sys.executable, APPS / "grpc_echo.py", kind, str(port)], log) as process,
    ):
        until(answers, process)
        yield port
