"""Real watchers for tests: a handler's source in, a running replica out."""

import contextlib
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
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


@pytest.fixture
def launch(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., Running]]:
    """Starts a replica; ``ready=False`` does not wait for it."""
    with launching(tmp_path, short_dir) as start:
        yield start


@contextlib.contextmanager
def launching(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., Running]]:
    """What :func:`launch` is; the replicas end with it."""
    replicas: list[LocalReplica] = []

    def start(source: str, *, ready: bool = True, environment=(), **settings) -> Running:
        number = len(replicas)
        folder = tmp_path / f"function-{number}"
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "handler.py").write_text(textwrap.dedent(source))
        log_file = tmp_path / f"log-{number}"
        given = {
            "listen": f"unix:{short_dir}/{number}.sock",
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
