"""The cost of a call through the gateway, relative to the minimum of such a path, and to peers.

The gateway runs as ``dcf-cli gateway start`` starts it, access log included, with the echo in one
replica. The bare path is the same Envoy with as many threads, and behind it, also on a Unix socket,
the HTTP server that the watcher is built on. Peers run as their documentation shows, with one
worker; peers that accept only JSON get the bytes as JSON.

The load generator, Envoy and the server share the machine's cores. On a machine with few cores each
takes time from the others, on both sides of every comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

from bench.bare_envoy import bare_path
from bench.environments import cache_folder, environment
from bench.figures import Figure, SkippedBench, alternate, ratio, seconds_of, spread
from bench.gateways import ECHO, Gateway, one_echo
from bench.load import BINARY, JSON, drive
from bench.servers import APPS, ECHOED, Server, free_port, running, watcher
from bench.watcher_echo import ASKED, LARGE, ROUNDS, SECONDS, compared, rate

BARE_BAR = 0.7
BARE_LARGE_BAR = 0.8
FASTAPI_BAR = 1.2
PEER_BAR = 10.0
PEER_P50_BAR = 0.35
CLIENT_CALLS = 1000
SMALL = "64 B, 32 connections"


def measure() -> Iterator[Figure]:
    """Yield ratios of calls per second and of the duration of a call."""
    with one_echo() as ours:
        yield from _beside_bare(ours.server())
        yield _client(ours)
        for peer in (_fastapi, _litserve, _bentoml):
            try:
                yield from peer(ours.server())
            except SkippedBench as error:
                raise SkippedBench(f"{peer.__name__[1:]}: {error}") from error


def _beside_bare(ours: Server) -> Iterator[Figure]:
    with bare_path() as bare, watcher() as direct:
        sides = {"gateway": ours, "bare": bare, "watcher": direct}
        for title, body, connections, bar in (
            (SMALL, ECHOED, 32, BARE_BAR),
            ("1 MB, 4 connections", LARGE, 4, BARE_LARGE_BAR),
        ):
            samples = alternate(
                {name: rate(server, body, connections) for name, server in sides.items()}, ROUNDS
            )
            name = f"{title}: gateway / bare Envoy and uvicorn"
            yield compared(name, samples, "bare", bar, "gateway")
            name = f"{title}: gateway / watcher without it"
            yield compared(name, samples, "watcher", None, "gateway")
        samples = alternate({name: p50(server) for name, server in sides.items()}, ROUNDS)
        yield slower("64 B, 1 connection, p50: gateway / bare Envoy and uvicorn", samples, "bare")
        yield slower("64 B, 1 connection, p50: gateway / watcher without it", samples, "watcher")


def _client(ours: Gateway) -> Figure:
    def burst() -> float:
        def calls() -> None:
            for _ in range(CLIENT_CALLS):
                ours.client.call(ECHO, ECHOED)

        return CLIENT_CALLS / seconds_of(calls)

    samples = alternate({"client": burst}, ROUNDS)["client"]
    raw = f"({min(samples):,.0f}-{max(samples):,.0f})"
    return Figure("64 B, sequential: dcf.Client", median(samples), "calls/s", raw=raw)


def _fastapi(ours: Server) -> Iterator[Figure]:
    python = environment("fastapi", ["fastapi", "uvicorn[standard]"])
    port = free_port()
    command: list[str | Path] = [python, APPS / "fastapi_echo.py", str(port)]
    with running(command, f"http://127.0.0.1:{port}/") as theirs:
        yield _faster("FastAPI on uvicorn", ours, theirs, FASTAPI_BAR, BINARY)


def _litserve(ours: Server) -> Iterator[Figure]:
    python = environment("litserve", ["litserve"])
    port = free_port()
    command: list[str | Path] = [python, APPS / "litserve_echo.py", str(port)]
    url = f"http://127.0.0.1:{port}/predict"
    with running(command, url, probe=ASKED, content_type=JSON) as theirs:
        yield _faster("LitServe", ours, theirs, PEER_BAR, JSON)
        sides = {"gateway": p50(ours), "litserve": p50(theirs, ASKED, JSON)}
        samples = alternate(sides, ROUNDS)
        name = "64 B, 1 connection, p50: gateway / LitServe"
        yield slower(name, samples, "litserve", PEER_P50_BAR)


def _bentoml(ours: Server) -> Iterator[Figure]:
    python = environment("bentoml", ["bentoml"])
    port = free_port()
    command: list[str | Path] = [
        python.parent / "bentoml",
        "serve",
        "bentoml_echo:Echo",
        "--port",
        str(port),
    ]
    private = {"BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(cache_folder() / "bentoml-home")}
    url = f"http://127.0.0.1:{port}/echo"
    with running(
        command, url, environment=private, probe=ASKED, content_type=JSON, folder=APPS
    ) as theirs:
        yield _faster("BentoML", ours, theirs, PEER_BAR, JSON)


def _faster(peer: str, ours: Server, theirs: Server, bar: float, content_type: str) -> Figure:
    body = ASKED if content_type == JSON else ECHOED
    sides = {"gateway": rate(ours, ECHOED, 32), "theirs": rate(theirs, body, 32, content_type)}
    return compared(
        f"{SMALL}: gateway / {peer}", alternate(sides, ROUNDS), "theirs", bar, "gateway"
    )


def p50(server: Server, body: bytes = ECHOED, content_type: str = BINARY) -> Callable[[], float]:
    """Return a burst of sequential calls that measures their median duration in microseconds."""
    return lambda: (
        drive(server.url, body, connections=1, seconds=SECONDS, content_type=content_type).p50
    )


def slower(
    name: str, samples: Mapping[str, list[float]], to: str, bar: float | None = None
) -> Figure:
    """Return the figure that compares the gateway's durations with those of another side."""
    times = f"{median(samples['gateway']):.0f} us / {median(samples[to]):.0f} us"
    raw = f"{times} ({spread(samples, 'gateway', to)})"
    return Figure(name, ratio(samples, "gateway", to), "x", bar, at_least=False, raw=raw)
