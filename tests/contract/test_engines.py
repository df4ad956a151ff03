"""Every engine passes the one contract."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcf.engines.base import Engine, ReplicaSpec
from dcf.engines.fake import FakeEngine
from dcf.engines.local.engine import PREFIX, LocalEngine
from dcf.model.replica import ReplicaId
from dcf.settings import WatcherSettings
from dcf.supervision.supervisor_client import SupervisorClient
from dcf.testing.engine_contract import HELLO, EngineContract
from process.supervised import booted

SERVES = f"""
print({HELLO!r})
class Handler:
    def __call__(self, req):
        return req.input
"""

FAILS = f"""
print({HELLO!r})
class Handler:
    def __init__(self):
        1 / 0
    def __call__(self, req):
        return req.input
"""


class Talking(FakeEngine):
    """Its replicas print what the contract expects."""

    async def start(self, spec: ReplicaSpec) -> ReplicaId:
        known = spec.id in self.specs
        await super().start(spec)
        if not known:
            self.say(spec.id, HELLO)
        return spec.id


class MemoryBench:
    def __init__(self) -> None:
        self.engine: Engine = Talking(ready_after=2)
        self.fake = self.engine

    def spec(self, replica: ReplicaId, *, fails: bool = False) -> ReplicaSpec:
        if fails:
            self.fake.fail_starts("broken", "HandlerInitFailed", "ZeroDivisionError: by zero")
        function = "broken" if fails else "echo"
        return ReplicaSpec(replica, function, 1, Path("python"), Path("source"))

    async def crash(self, replica: ReplicaId) -> None:
        self.fake.crash(replica)

    async def settle(self) -> None:
        self.fake.tick()

    def again(self) -> Engine:
        return self.engine


@contextlib.asynccontextmanager
async def memory_lab() -> AsyncGenerator[MemoryBench, None]:
    yield MemoryBench()


@dataclass
class LocalBench:
    engine: Engine
    client: SupervisorClient
    folder: Path

    def spec(self, replica: ReplicaId, *, fails: bool = False) -> ReplicaSpec:
        source = self.folder / replica
        (source / "src").mkdir(parents=True, exist_ok=True)
        (source / "src" / "handler.py").write_text(FAILS if fails else SERVES)
        listen = f"unix:{self.folder / replica}.sock"
        settings = WatcherSettings(listen=listen)
        return ReplicaSpec(replica, "echo", 1, Path(sys.executable), source, settings)

    async def crash(self, replica: ReplicaId) -> None:
        (status,) = [one for one in await self.client.list() if one.name == PREFIX + replica]
        os.kill(status.pid, signal.SIGKILL)

    async def settle(self) -> None:
        pass

    def again(self) -> Engine:
        return LocalEngine(SupervisorClient(self.folder / "supervisor.sock"), os.environ)


@contextlib.asynccontextmanager
async def local_lab() -> AsyncGenerator[LocalBench, None]:
    # Its path leaves room for a socket's name.
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as folder:
        async with booted(Path(folder)) as up:
            yield LocalBench(LocalEngine(up.client, os.environ), up.client, Path(folder))


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def lab(self):
        return memory_lab


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def lab(self):
        return local_lab
