"""The local engine beyond the contract: real watchers, calls, and a supervisor that is killed."""

import asyncio
import contextlib
import os
import platform
import signal
import socket
import threading
from functools import partial
from pathlib import Path

import pytest

from dcf.client.watcher import WatcherClient
from dcf.engines.base import ReplicaSpec
from dcf.engines.local.engine import LocalEngine
from dcf.engines.local.gpu import Gpu, Inventory
from dcf.errors import BuildError, ReplicaExited, SecretNotFound, SupervisorUnreachable
from dcf.model.replica import Observation, ReplicaId, ReplicaState
from process.local_lab import Lab
from process.supervised import Booted, booted, gone, status, until

ECHO = """
import os
import dcf

class Handler:
    def __call__(self, req):
        word = req.input.decode()
        if word == "secret":
            return dcf.secret("key")
        if word == "secrets":
            return " ".join(os.listdir(os.environ["DCF_SECRETS_DIR"]))
        return os.environ.get(word, "unset")
"""

ID = ReplicaId("echo-1-abc")


class TwoGpus:
    def look(self) -> Inventory:
        return Inventory((Gpu(0, "a", "Fake", 1), Gpu(1, "b", "Fake", 1)))


class Place:
    """A lab with one replica's spec and an engine."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(folder)
        self.socket = self.lab.sockets / f"{ID[-8:]}.sock"

    def spec(self, handler: str = ECHO, **function) -> ReplicaSpec:
        return self.lab.spec(ID, handler, **function)

    def engine(self, up: Booted) -> LocalEngine:
        base = {**os.environ, "PYTHONPATH": "/elsewhere", "DCF_QUEUE": "7", "OURS": "seen"}
        return self.lab.engine(up.client, base, gpus=TwoGpus(), extra={"LOUD": "framework"})


async def seen_as(engine: LocalEngine, state: ReplicaState):
    async with asyncio.timeout(20), contextlib.aclosing(engine.observe()) as stream:
        async for item in stream:
            for seen in item if isinstance(item, tuple) else (item,):
                if seen.state is state:
                    return seen
    raise AssertionError("the stream ended")


def call(endpoint: str, word: str) -> str:
    return WatcherClient(endpoint, 10).call(word.encode()).read().decode()


def test_a_replica_has_its_environment_and_secrets_and_answers(short_dir):
    place = Place(short_dir)
    secrets = place.lab.places.secrets
    secrets.mkdir()
    (secrets / "key").write_text("open sesame")
    (secrets / "other").write_text("not yours")

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            spec = place.spec(environment={"WORD": "author", "LOUD": "author"}, secrets=("key",))
            await engine.start(spec)
            seen = await seen_as(engine, ReplicaState.READY)
            said = {
                word: await asyncio.to_thread(call, seen.endpoint, word)
                for word in (
                    "WORD",
                    "LOUD",
                    "OURS",
                    "PYTHONPATH",
                    "DCF_QUEUE",
                    "DCF_FUNCTION",
                    "secret",
                    "secrets",
                )
            }
            assert said == {
                "WORD": "author",
                "LOUD": "framework",
                "OURS": "seen",
                "PYTHONPATH": "unset",
                "DCF_QUEUE": "128",
                "DCF_FUNCTION": "echo",
                "secret": "open sesame",
                "secrets": "key",
            }
            assert (await engine.capacity()).gpu == 2

    asyncio.run(main())


FAULTS = """
import resource

class Handler:
    def __call__(self, req):
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        return str(faults).ljust(len(req.input))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_large_bodies_come_into_memory_that_is_there(short_dir):
    """Not many pages of them are asked for anew: each body has 488, and each reply. Left to glibc,
    some 390 for a call.
    """

    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec(handler=FAULTS))
            seen = await seen_as(engine, ReplicaState.READY)

            async def calls(number: int) -> int:
                """The replica's page faults so far, after calls four at a time."""
                four = asyncio.Semaphore(4)

                async def one() -> int:
                    async with four:
                        return int(await asyncio.to_thread(call, seen.endpoint, "x" * 2_000_000))

                return max(await asyncio.gather(*(one() for _ in range(number))))

            before = await calls(40)
            assert await calls(80) - before < 80 * 100

    asyncio.run(main())


def test_a_killed_replicas_socket_is_removed(short_dir):
    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            await seen_as(engine, ReplicaState.READY)
            os.kill((await status(up.client, f"replica.{ID}")).pid, signal.SIGKILL)
            seen = await seen_as(engine, ReplicaState.EXITED)
            assert "memory runs out" in seen.exit.reason
            assert not await asyncio.to_thread(place.socket.exists)

    asyncio.run(main())


def test_an_interpreter_that_is_not_there(short_dir):
    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            place.lab.missing_python()
            with pytest.raises(ReplicaExited, match="No such file"):
                await engine.start(place.spec())
            assert not (place.lab.places.replicas / ID).exists()

    asyncio.run(main())


def test_a_killed_supervisor_takes_its_replicas_along_even_a_busy_one(short_dir):
    """And the next one starts them again, where they were."""
    busy = ECHO + "\n    def __init__(self):\n        while True: pass\n"

    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec(handler=busy))
            pid = (await status(up.client, f"replica.{ID}")).pid
            await asyncio.sleep(0.4)
            watching = asyncio.create_task(seen_as(engine, ReplicaState.READY))
            await asyncio.sleep(0.05)
            up.kill()
            await gone(pid)
            with pytest.raises(SupervisorUnreachable):
                await watching
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            await seen_as(engine, ReplicaState.READY)

    asyncio.run(main())


def test_it_sees_that_a_replica_is_stopped_and_goes_on(short_dir):
    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            await seen_as(engine, ReplicaState.READY)
            pid = (await status(up.client, f"replica.{ID}")).pid
            assert not await engine.is_suspended(ID)
            os.kill(pid, signal.SIGSTOP)
            await until(partial(engine.is_suspended, ID))
            os.kill(pid, signal.SIGCONT)
            assert not await engine.is_suspended(ID)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("handler", "line"),
    [
        ("def Handler(req): hold(60)", 'handler.py", line 3 in Handler'),
        ("async def Handler(req): hold(60)", 'handler.py", line 3 in Handler'),
    ],
)
def test_a_replica_that_holds_the_interpreter_still_logs_where_it_is(short_dir, handler, line):
    async def logged(engine):
        lines = [one.text async for one in engine.logs(ID)]
        return any(line in text for text in lines)

    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            # Interrupted, it waits again: a library would.
            source = "import ctypes\nhold = lambda n: [ctypes.PyDLL(None).sleep(n) for _ in '12']\n"
            await engine.start(place.spec(handler=source + handler))
            endpoint = (await seen_as(engine, ReplicaState.READY)).endpoint
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(endpoint.removeprefix("unix:"))
                caller.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                await asyncio.sleep(0.3)
                await engine.log_stacks(ID)
                await until(partial(logged, engine))
                await engine.stop(ID, 0)

    asyncio.run(main())


def test_the_supervisors_own_end_drains_the_replicas(short_dir):
    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            states = []
            async with contextlib.aclosing(engine.observe()) as stream:
                assert await anext(stream)
                async for seen in stream:
                    assert isinstance(seen, Observation)
                    states.append(seen.state)
                    code = seen.exit.code if seen.exit else None
                    if seen.state is ReplicaState.READY:
                        up.process.terminate()
            assert await asyncio.to_thread(up.process.wait, 10) == 0
            assert states == ["ready", "draining", "exited"]
            assert code == 0

    asyncio.run(main())


def test_its_files_go_with_it_and_cleanup_removes_what_others_left(short_dir):
    place = Place(short_dir)
    replicas = place.lab.places.replicas

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            await asyncio.to_thread((replicas / "left" / "source").mkdir, parents=True)
            await engine.cleanup()
            assert [path.name for path in replicas.iterdir()] == [ID]
            await engine.stop(ID, 1)
            assert list(replicas.iterdir()) == []

    asyncio.run(main())


def test_what_cannot_be_laid_out_leaves_nothing(short_dir):
    place = Place(short_dir)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            with pytest.raises(SecretNotFound):
                await engine.start(place.spec(secrets=("key",)))
            place.lab.error = BuildError("no such package")
            with pytest.raises(BuildError):
                await engine.start(place.spec())
            with pytest.raises(BuildError):
                await engine.prepare(place.spec().artifact, place.spec().spec)
            assert await up.client.list() == ()
            assert not place.lab.places.replicas.exists()

    asyncio.run(main())


def test_a_replica_that_is_stopped_while_it_is_laid_out_is_not_started(short_dir, monkeypatch):
    place = Place(short_dir)
    reached, go_on = threading.Event(), threading.Event()

    def build(*_, **__):
        reached.set()
        assert go_on.wait(10)
        return place.lab.environment

    monkeypatch.setattr(place.lab, "build_artifact", build)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            starting = asyncio.create_task(engine.start(place.spec()))
            await asyncio.to_thread(reached.wait, 10)
            stopping = asyncio.create_task(engine.stop(ID, 1))
            await asyncio.sleep(0.05)
            go_on.set()
            await asyncio.gather(starting, stopping)
            assert await up.client.list() == ()
            assert list(place.lab.places.replicas.iterdir()) == []

    asyncio.run(main())


def test_a_socket_whose_path_would_be_too_long_becomes_a_loopback_port(short_dir):
    place = Place(short_dir)
    place.lab.sockets = short_dir / ("s" * 100)

    async def main():
        async with booted(short_dir / "state") as up:
            engine = place.engine(up)
            await engine.start(place.spec())
            assert (await seen_as(engine, ReplicaState.READY)).endpoint.startswith("tcp:127.0.0.1:")

    asyncio.run(main())
