"""Object detection through the watcher, relative to the same handler called in a loop.

Both run examples/02-object-detection-ssd as built, in the function's environment, with the number
of threads that the example sets, and with the same picture: one of the example's pictures, and the
same as a camera would send it. The measurement covers the whole handler, decoding included. Two
calls are in flight, so that the handler never waits for the next call; while one side is measured,
the other side is idle.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from bench.environments import cache_folder
from bench.figures import Figure, SkippedBench, alternate, progress
from bench.load import LoadFailed
from bench.servers import APPS, Server, watcher
from bench.watcher_echo import compared
from PIL import Image

from dcf.builder.builder import Builder
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.errors import IndexUnreachable
from dcf.project.locate import locate

EXAMPLE = Path(__file__).parent.parent / "examples" / "02-object-detection-ssd"
ROUNDS = 7
CALLS = 80
IN_FLIGHT = 2
BAR = 0.95


def measure() -> Iterator[Figure]:
    """Yield a ratio of pictures per second."""
    with tempfile.TemporaryDirectory(prefix="dcf-bench-") as scratch:
        # A copy, because a build writes the lock into the folder.
        folder = Path(scratch) / EXAMPLE.name
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        python = build(folder)
        for picture in _pictures(folder):
            yield _compare(folder, python, picture)


def _compare(folder: Path, python: Path, picture: Path) -> Figure:
    body = picture.read_bytes()
    with (
        watcher(python=python, root=folder, handler_dir="./src", probe=body) as server,
        loop(python, folder / "src", picture) as plain,
    ):
        samples = alternate({"watcher": lambda: _through(server, body), "loop": plain}, ROUNDS)
    size = f"{len(body) / 1000:.0f} kB {picture.suffix[1:].upper()}"
    return compared(f"SSD, {size}, 2 in flight: watcher / loop", samples, "loop", BAR)


def _through(server: Server, body: bytes) -> float:
    """Return the pictures per second through the watcher.

    It makes a fixed number of calls, as the loop does, and does not use wrk: at so few calls per
    second, the calls in flight at the end would distort the result.
    """
    address = urlsplit(server.url).netloc
    left = iter(range(CALLS))

    def client() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        with contextlib.closing(connection):
            for _ in left:
                connection.request("POST", "/", body)
                reply = connection.getresponse()
                if reply.status != HTTPStatus.OK:
                    raise LoadFailed(f"a picture was answered with {reply.status}")
                reply.read()

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        begin = time.perf_counter()
        for done in [pool.submit(client) for _ in range(IN_FLIGHT)]:
            done.result()
        return CALLS / (time.perf_counter() - begin)


def build(folder: Path) -> Path:
    """Build a function.

    Returns:
        The interpreter of its environment.

    Raises:
        SkippedBench: If there is no network.
    """
    spec = locate(None, None, folder).spec
    progress(f"  building {spec.name}")
    try:
        built = Builder(Store(cache_folder() / "store"), Uv(os.environ)).build(folder, spec)
    except IndexUnreachable as error:
        raise SkippedBench(f"{folder.name} cannot be built: {error}") from error
    return built.environment.python


def _pictures(folder: Path) -> Iterator[Path]:
    """Return a PNG of the example, and the same picture as a camera would send it."""
    png = min((folder / "pictures").glob("*.png"))
    yield png
    jpeg = folder / "picture.jpeg"
    with Image.open(png) as image:
        image.convert("RGB").resize((640, 480)).save(jpeg, quality=90)
    yield jpeg


@contextlib.contextmanager
def loop(python: Path, source: Path, picture: Path) -> Iterator[Callable[[], float]]:
    """Return the pictures per second of the loop, by its own clock."""
    process = subprocess.Popen(
        [python, APPS / "loop.py", source, picture],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def once() -> float:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("started with pipes")
        process.stdin.write(f"{CALLS}\n")
        process.stdin.flush()
        return CALLS / float(process.stdout.readline())

    try:
        yield once
    finally:
        process.communicate()
