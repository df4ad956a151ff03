"""Every engine passes the one contract."""

import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcf.engines.base import Engine, ReplicaSpec
from dcf.engines.fake import FakeEngine
from dcf.engines.local.engine import PREFIX
from dcf.engines.spec import replica_spec
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.replica import ReplicaId
from dcf.settings import WatcherSettings
from dcf.supervision.embedded import EmbeddedSupervisor
from dcf.supervision.supervisor_client import SupervisorClient
from dcf.testing.engine_contract import HELLO, EngineContract
from process.local_lab import Lab
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

    async def start(self, spec: ReplicaSpec, listener=None) -> ReplicaId:
        known = spec.id in self.specs
        await super().start(spec, listener)
        if not known:
            self.say(spec.id, HELLO)
        return spec.id


class FakeBench:
    def __init__(self) -> None:
        self.engine: Engine = Talking(ready_after=2)
        self.fake = self.engine

    def spec(self, replica: ReplicaId, *, fails: bool = False, **function) -> ReplicaSpec:
        if fails:
            self.fake.fail_starts("broken", "HandlerInitFailed", "ZeroDivisionError: by zero")
        artifact = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)
        spec = FunctionSpec("broken" if fails else "echo", **function)
        self.fake.missing_secrets = set(spec.secrets)
        return replica_spec(replica, 1, spec, artifact, WatcherSettings())

    async def crash(self, replica: ReplicaId) -> None:
        self.fake.crash(replica)

    async def settle(self) -> None:
        self.fake.tick()

    def again(self) -> Engine:
        return self.engine


@contextlib.asynccontextmanager
async def fake_lab() -> AsyncGenerator[FakeBench, None]:
    yield FakeBench()


@dataclass
class LocalBench:
    engine: Engine
    supervisor: SupervisorClient | EmbeddedSupervisor
    lab: Lab

    def spec(self, replica: ReplicaId, *, fails: bool = False, **function) -> ReplicaSpec:
        return self.lab.spec(replica, FAILS if fails else SERVES, **function)

    async def crash(self, replica: ReplicaId) -> None:
        statuses = await self.supervisor.list()
        (status,) = [one for one in statuses if one.name == PREFIX + replica]
        os.kill(status.pid, signal.SIGKILL)

    async def settle(self) -> None:
        pass

    def again(self) -> Engine:
        return self.lab.engine(self.supervisor)


@contextlib.contextmanager
def short_folder():
    # Its path leaves room for a socket's name.
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as folder:
        yield Path(folder)


@contextlib.asynccontextmanager
async def local_lab() -> AsyncGenerator[LocalBench, None]:
    with short_folder() as folder:
        async with booted(folder / "state") as up:
            lab = Lab(folder)
            yield LocalBench(lab.engine(up.client), up.client, lab)


@contextlib.asynccontextmanager
async def embedded_lab() -> AsyncGenerator[LocalBench, None]:
    with short_folder() as folder:
        (folder / "state").mkdir()
        supervisor = EmbeddedSupervisor(folder / "state")
        async with supervisor.running():
            lab = Lab(folder)
            yield LocalBench(lab.engine(supervisor), supervisor, lab)


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def lab(self):
        return fake_lab


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def lab(self):
        return local_lab


class TestLocalEngineOfACommand(EngineContract):
    @pytest.fixture
    def lab(self):
        return embedded_lab
