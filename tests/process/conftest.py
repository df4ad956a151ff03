"""Real watchers for tests: a handler's source in, a running replica out."""

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcf.client.watcher import WatcherClient
from dcf.engines.local.replica import Launch, LocalReplica
from dcf.settings import WatcherSettings


@dataclass
class Running:
    replica: LocalReplica
    endpoint: str
    folder: Path
    log_file: Path

    def client(self, timeout: float = 20) -> WatcherClient:
        return WatcherClient(self.endpoint, timeout)

    def call(self, body: bytes = b"", **given) -> bytes:
        return self.client().call(body, **given).read()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextmanager
def launching(home: Path, sockets: Path) -> Iterator[Callable[..., Running]]:
    """Starts replicas; ``ready=False`` does not wait for one. All end at the end."""
    replicas: list[LocalReplica] = []

    def start(source: str, *, ready: bool = True, environment=(), **settings) -> Running:
        number = len(replicas)
        folder = home / f"function-{number}"
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "handler.py").write_text(textwrap.dedent(source))
        log_file = home / f"log-{number}"
        given = {
            "listen": f"unix:{sockets}/{number}.sock",
            "root": str(folder),
            "start_timeout": 20.0,
            **settings,
        }
        with log_file.open("wb") as log:
            replica = LocalReplica(
                Launch(
                    python=Path(sys.executable),
                    settings=WatcherSettings(lifeline=True, **given),
                    environment=dict(environment),
                    extra={},
                    log=log.fileno(),
                ),
                os.environ,
            )
        replicas.append(replica)
        endpoint = replica.wait_ready() if ready else given["listen"]
        return Running(replica, endpoint, folder, log_file)

    try:
        yield start
    finally:
        for replica in replicas:
            replica.stop(0.2)


@pytest.fixture
def launch(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., Running]]:
    """Starts replicas for one test."""
    with launching(tmp_path, short_dir) as start:
        yield start


@pytest.fixture(scope="module")
def launch_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Starts replicas once for a module: the same source and settings are the same replica."""
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
