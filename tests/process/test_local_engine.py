"""The local engine beyond the contract: real watchers, calls, and a supervisor that is killed."""

import asyncio
import contextlib
import os
import platform
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from dcf.client.watcher import WatcherClient
from dcf.engines.base import ReplicaSpec
from dcf.engines.local.engine import LocalEngine
from dcf.engines.local.gpu import Gpu, Inventory
from dcf.errors import ReplicaExited, SupervisorUnreachable
from dcf.model.replica import Observation, ReplicaId, ReplicaState
from dcf.settings import WatcherSettings
from process.supervised import Booted, booted, gone, status, until

ECHO = """
import os
import dcf

class Handler:
    def __call__(self, req):
        word = req.input.decode()
        if word == "secret":
            return dcf.secret("key")
        return os.environ.get(word, "unset")
"""

ID = ReplicaId("echo-1-abc")


class TwoGpus:
    def look(self) -> Inventory:
        return Inventory((Gpu(0, "a", "Fake", 1), Gpu(1, "b", "Fake", 1)))


def spec_of(folder: Path, **given) -> ReplicaSpec:
    source = folder / "source"
    (source / "src").mkdir(parents=True, exist_ok=True)
    (source / "src" / "handler.py").write_text(given.pop("handler", ECHO))
    settings = WatcherSettings(listen=f"unix:{folder}/r.sock", drain=1)
    return ReplicaSpec(
        id=ID,
        function="echo",
        revision=3,
        python=given.pop("python", Path(sys.executable)),
        source=source,
        settings=settings,
        **given,
    )


def engine_of(up: Booted) -> LocalEngine:
    base = {**os.environ, "PYTHONPATH": "/elsewhere", "DCF_QUEUE": "7", "OURS": "seen"}
    return LocalEngine(up.client, base, gpus=TwoGpus())


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
    secrets = short_dir / "secrets"
    secrets.mkdir()
    (secrets / "key").write_text("open sesame")

    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            spec = spec_of(
                short_dir,
                environment={"WORD": "author", "LOUD": "author"},
                extra={"LOUD": "framework"},
                secrets=secrets,
            )
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

    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir, handler=FAULTS))
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
    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir))
            await seen_as(engine, ReplicaState.READY)
            os.kill((await status(up.client, f"replica.{ID}")).pid, signal.SIGKILL)
            seen = await seen_as(engine, ReplicaState.EXITED)
            assert "memory runs out" in seen.exit.reason
            assert not await asyncio.to_thread((short_dir / "r.sock").exists)

    asyncio.run(main())


def test_an_interpreter_that_is_not_there(short_dir):
    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            with pytest.raises(ReplicaExited, match="No such file"):
                await engine.start(spec_of(short_dir, python=Path("/no/python")))

    asyncio.run(main())


def test_a_killed_supervisor_takes_its_replicas_along_even_a_busy_one(short_dir):
    """And the next one starts them again, where they were."""
    busy = ECHO + "\n    def __init__(self):\n        while True: pass\n"

    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir, handler=busy))
            pid = (await status(up.client, f"replica.{ID}")).pid
            await asyncio.sleep(0.4)
            watching = asyncio.create_task(seen_as(engine, ReplicaState.READY))
            await asyncio.sleep(0.05)
            up.kill()
            await gone(pid)
            with pytest.raises(SupervisorUnreachable):
                await watching
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir))
            await seen_as(engine, ReplicaState.READY)

    asyncio.run(main())


def test_it_sees_that_a_replica_is_stopped_and_goes_on(short_dir):
    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir))
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

    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            # Interrupted, it waits again: a library would.
            source = "import ctypes\nhold = lambda n: [ctypes.PyDLL(None).sleep(n) for _ in '12']\n"
            await engine.start(spec_of(short_dir, handler=source + handler))
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
    async def main():
        async with booted(short_dir / "state") as up:
            engine = engine_of(up)
            await engine.start(spec_of(short_dir))
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
