"""A video through the gateway, relative to the same handler called in a loop.

Both run examples/05-streaming-video as built: the handler decodes a frame, runs the network, draws
boxes and encodes the frame. The stream is a WebSocket of the Python client through Envoy. Two
frames are in flight, so that the handler never waits for the next frame; for the latency it is one.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from bench.environments import cache_folder
from bench.figures import Figure, alternate, ratio, spread
from bench.gateways import Gateway, gateway, packaged, scratch
from bench.ssd import CALLS, build, loop
from bench.watcher_echo import compared

EXAMPLE = Path(__file__).parent.parent / "examples" / "05-streaming-video"
FUNCTION = "detect-video"
SOI = b"\xff\xd8\xff"
"""The first bytes of a JPEG."""
ROUNDS = 7
BAR = 0.9
LATENCY_BAR = 1.2


def measure() -> Iterator[Figure]:
    """Yield ratios of frames per second, and of the duration of a frame."""
    with tempfile.TemporaryDirectory(prefix="dcf-bench-") as copy, scratch() as data:
        # A copy, because a build writes the lock into the folder; links are replaced by their
        # targets.
        folder = Path(copy) / EXAMPLE.name
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        first = (folder / "video" / "dog.mjpeg").read_bytes().split(SOI)[1]
        frame = Path(copy) / "frame.jpeg"
        frame.write_bytes(SOI + first)
        python = build(folder)
        package = packaged(folder, cache_folder() / "store")
        with gateway(data) as ours, loop(python, folder / "src", frame) as plain:
            ours.deploy(package, FUNCTION)
            sent = partial(_send, ours, frame.read_bytes())
            sides = {"gateway": lambda: _rate(*sent(in_flight=2)), "loop": plain}
            samples = alternate(sides, ROUNDS)
            name = "SSD, video by WebSocket, 2 in flight: gateway / loop"
            yield compared(name, samples, "loop", BAR, "gateway")
            times = {
                "gateway": lambda: median(sent(in_flight=1)[1]) * 1000,
                "loop": lambda: 1000 / plain(),
            }
            yield _slower(alternate(times, ROUNDS))


def _send(ours: Gateway, frame: bytes, *, in_flight: int) -> tuple[float, list[float]]:
    """Return the seconds of the whole stream, and of each frame from sending to its reply."""
    room = threading.Semaphore(in_flight)
    sent: deque[float] = deque()
    seconds = []

    def frames() -> Iterator[bytes]:
        for _ in range(CALLS):
            room.acquire()
            sent.append(time.perf_counter())
            yield frame

    begin = time.perf_counter()
    for _ in ours.client.stream(FUNCTION, frames()):
        seconds.append(time.perf_counter() - sent.popleft())
        room.release()
    return time.perf_counter() - begin, seconds


def _rate(whole: float, seconds: list[float]) -> float:
    return len(seconds) / whole


def _slower(samples: dict[str, list[float]]) -> Figure:
    times = f"p50 {median(samples['gateway']):.1f} ms / {median(samples['loop']):.1f} ms"
    return Figure(
        "SSD, video by WebSocket, 1 in flight, latency: gateway / loop",
        ratio(samples, "gateway", "loop"),
        "x",
        LATENCY_BAR,
        at_least=False,
        raw=f"{times} ({spread(samples, 'gateway', 'loop')})",
    )
