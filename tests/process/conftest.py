"""Real watchers for tests: they turn the source of a handler into a running replica."""

import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcf.client.watcher import WatcherClient
from dcf.settings import WatcherSettings
from process.watcher_process import Launch, WatcherProcess


@dataclass
class Running:
    replica: WatcherProcess
    endpoint: str
    folder: Path
    log_file: Path

    def client(self, timeout: float = 20) -> WatcherClient:
        return WatcherClient(self.endpoint, timeout)

    def call(self, body: bytes = b"", **options) -> bytes:
        return self.client().call(body, **options).read()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Return a folder whose path is short enough for the name of a socket."""
    path = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextmanager
def launching(home: Path, sockets: Path) -> Iterator[Callable[..., Running]]:
    """Starts replicas; ``ready=False`` does not wait until the replica is ready. Ends all of them
    at the end."""
    replicas: list[WatcherProcess] = []

    def start(source: str, *, ready: bool = True, environment=(), **settings) -> Running:
        number = len(replicas)
        folder = home / f"function-{number}"
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "handler.py").write_text(textwrap.dedent(source))
        log_file = home / f"log-{number}"
        settings = {
            "listen": f"unix:{sockets}/{number}.sock",
            "root": str(folder),
            "start_timeout": 20.0,
            **settings,
        }
        with log_file.open("wb") as log:
            replica = WatcherProcess(
                Launch(
                    python=Path(sys.executable),
                    settings=WatcherSettings(lifeline=True, **settings),
                    environment=dict(environment),
                    extra={},
                    log=log.fileno(),
                ),
                os.environ,
            )
        replicas.append(replica)
        endpoint = replica.wait_ready() if ready else settings["listen"]
        return Running(replica, endpoint, folder, log_file)

    try:
        yield start
    finally:
        for replica in replicas:
            replica.stop(0.2)


class Latch:
    """Makes handlers wait until a test lets them continue.

    Attributes:
        source: Code to put before a handler's source. In it, ``wait()`` returns once the latch opens.
    """

    def __init__(self, folder: Path) -> None:
        self._reached = folder / "reached"
        self._opened = folder / "opened"
        self.source = textwrap.dedent(
            f"""
            import pathlib, time
            def wait():
                pathlib.Path({str(self._reached)!r}).touch()
                while not pathlib.Path({str(self._opened)!r}).exists():
                    time.sleep(0.005)
            """
        )

    def reached(self) -> None:
        """Return once a handler waits."""
        until = time.monotonic() + 20
        while not self._reached.exists():
            assert time.monotonic() < until, "no handler waits"
            time.sleep(0.005)

    def open(self) -> None:
        """Let all handlers continue, including later ones."""
        self._opened.touch()


@pytest.fixture
def latch(tmp_path: Path) -> Iterator[Latch]:
    made = Latch(tmp_path)
    yield made
    made.open()


@pytest.fixture
def launch(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., Running]]:
    """Start replicas for a single test."""
    with launching(tmp_path, short_dir) as start:
        yield start


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder like ``short_dir``, for all tests of a module."""
    path = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def _shared() -> Iterator[None]:
    """Let processes that start from now on outlive a test, but not the module."""
    os.environ["SHARED_BY_TESTS"] = "1"
    yield
    del os.environ["SHARED_BY_TESTS"]


@pytest.fixture(scope="module")
def launch_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Start replicas once per module: equal source and settings give the same replica."""
    started: dict[tuple[object, ...], Running] = {}
    with (
        tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as sockets,
        launching(tmp_path_factory.mktemp("shared"), Path(sockets)) as start,
    ):

        def share(source: str, **settings) -> Running:
            key = (source, *sorted(settings.items()))
            if key not in started:
                started[key] = start(source, environment={"SHARED_BY_TESTS": "1"}, **settings)
            return started[key]

        yield share
