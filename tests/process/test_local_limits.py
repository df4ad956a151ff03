"""Limits of replicas, held for real: by control groups where there are any, and without."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from dcf.client.watcher import WatcherClient
from dcf.engines.local.cgroups import CPU, MEMORY, Cgroups
from dcf.engines.local.gpu import Gpu, Inventory, reserve
from dcf.errors import GpuUnavailable, HandlerRaised, ReplicaLost
from dcf.model.function import Resources
from dcf.model.replica import Observation, ReplicaId, ReplicaState
from dcf.protocol.exits import WatcherExit
from process.local_lab import Lab
from process.supervised import Booted, booted, status

HANDLER = """
import os
import subprocess

class Handler:
    def __call__(self, req):
        word, _, more = req.input.decode().partition(" ")
        if word == "take":
            return str(len(b"x" * (int(more) << 20)))
        if word == "cores":
            return ",".join(map(str, sorted(os.sched_getaffinity(0))))
        if word == "child":
            return str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
        return os.environ.get(word, "unset")
"""

MIB = 1 << 20
LIMIT = Resources(memory=256 * MIB)
WITHOUT_GROUPS = Cgroups({})
CORES = sorted(os.sched_getaffinity(0))


class Gpus:
    def __init__(self, *names: str) -> None:
        self.names = names

    def look(self) -> Inventory:
        return Inventory(tuple(Gpu(n, name, "Fake", 1) for n, name in enumerate(self.names)))


class LimitsLab:
    """An engine, and what tests do with it."""

    def __init__(self, up: Booted, folder: Path, gpus: Gpus, cgroups: Cgroups | None) -> None:
        self.up = up
        self.lab = Lab(folder)
        self.engine = self.lab.engine(up.client, gpus=gpus, cgroups=cgroups)

    async def start(self, name: str = "a", handler: str = HANDLER, **given) -> Observation:
        """Starts a replica; returns it as READY, or as it ended."""
        await self.engine.start(self.lab.spec(name, handler, **given))
        return await self.seen(name, ReplicaState.READY, ReplicaState.EXITED)

    async def seen(self, name: str, *states: ReplicaState) -> Observation:
        async with asyncio.timeout(20), contextlib.aclosing(self.engine.observe()) as stream:
            async for item in stream:
                for seen in item if isinstance(item, tuple) else (item,):
                    if seen.id == name and seen.state in states:
                        return seen
        raise AssertionError("the stream ended")

    async def call(self, seen: Observation, word: str) -> str:
        client = WatcherClient(seen.endpoint, 20)
        answer = await asyncio.to_thread(lambda: client.call(word.encode()).read())
        return answer.decode()

    async def pid(self, name: str = "a") -> int:
        return (await status(self.up.client, f"replica.{name}")).pid


@contextlib.asynccontextmanager
async def lab(
    folder: Path, *gpus: str, cgroups: Cgroups | None = WITHOUT_GROUPS
) -> AsyncGenerator[LimitsLab, None]:
    async with booted(folder / "state") as up:
        made = LimitsLab(up, folder, Gpus(*gpus), cgroups)
        yield made
        for name in ("a", "b"):
            await made.engine.stop(ReplicaId(name), 1)


def with_groups(controller: str):
    reason = f"this process may make no control groups for {controller}"
    return pytest.mark.skipif(not Cgroups.find().version(controller), reason=reason)


def test_a_handler_that_wants_too_much_memory_gets_an_exception_and_lives_on(short_dir):
    async def main():
        async with lab(short_dir) as at:
            seen = await at.start(limits=LIMIT)
            assert seen.limits == ("memory: 256 MiB (RLIMIT_DATA)",)
            with pytest.raises(HandlerRaised, match="MemoryError") as caught:
                await at.call(seen, "take 300")
            assert "handler.py" in caught.value.traceback
            assert await at.call(seen, "take 50") == str(50 * MIB)

    asyncio.run(main())


def test_a_limit_under_which_nothing_can_run_is_told(short_dir):
    async def main():
        async with lab(short_dir) as at:
            seen = await at.start(limits=Resources(memory=20 * MIB))
            assert seen.exit
            assert seen.exit.code == WatcherExit.CONFINEMENT
            assert seen.exit.error == "ConfinementFailed"
            assert "MiB, got 20 MiB: the watcher uses" in seen.exit.reason

    asyncio.run(main())


@with_groups(MEMORY)
def test_a_replica_over_the_limit_of_its_group_is_killed_and_says_so(short_dir):
    async def main():
        async with lab(short_dir, cgroups=None) as at:
            seen = await at.start(limits=LIMIT)
            with pytest.raises(ReplicaLost):
                await at.call(seen, "take 400")
            ended = await at.seen("a", ReplicaState.EXITED)
            by = f"cgroup v{Cgroups.find().version(MEMORY)}"
            assert ended.limits == (f"memory: 256 MiB ({by})",)
            assert ended.exit
            assert ended.exit.reason.endswith(f"it exceeded its memory limit of 256 MiB ({by})")
            # Another engine, as after a restart of the control plane, knows it as well.
            at.engine = at.lab.engine(at.up.client)
            assert await at.seen("a", ReplicaState.EXITED) == ended

    asyncio.run(main())


@with_groups(MEMORY)
def test_a_group_goes_with_its_replica_and_takes_along_what_hides_in_it(short_dir):
    async def main():
        async with lab(short_dir, cgroups=None) as at:
            seen = await at.start(limits=LIMIT)
            pid = await at.pid()
            child = int(await at.call(seen, "child"))
            groups = [folder for folder in _groups(pid) if "/dcf-" in str(folder)]
            assert groups
            assert set(groups) <= set(_groups(child))
            await at.engine.stop(seen.id, 1)
            assert not any(folder.exists() for folder in groups)
            assert not _lives(child)

    asyncio.run(main())


@with_groups(MEMORY)
def test_groups_that_nobody_knows_are_swept_and_others_stay(short_dir):
    async def main():
        async with lab(short_dir, cgroups=None) as at:
            await at.start(limits=LIMIT)
            mine = next(folder for folder in _groups(await at.pid()) if "/dcf-" in str(folder))
            left = mine.with_name(mine.name + "-left")
            left.mkdir()
            at.engine = at.lab.engine(at.up.client)
            await at.start("b", limits=LIMIT)
            assert mine.exists()
            assert not left.exists()

    asyncio.run(main())


@with_groups(CPU)
def test_a_group_holds_a_replica_to_a_part_of_a_core(short_dir):
    async def main():
        async with lab(short_dir, cgroups=None) as at:
            seen = await at.start(limits=Resources(cpu=0.5))
            version = Cgroups.find().version(CPU)
            assert seen.limits == (f"cpu: 0.5 (cgroup v{version})",)
            groups = [folder for folder in _groups(await at.pid()) if "/dcf-" in str(folder)]
            quota = "cpu.cfs_quota_us" if version == 1 else "cpu.max"
            assert [(folder / quota).read_text().split()[0] for folder in groups] == ["50000"]
            assert await at.call(seen, "OMP_NUM_THREADS") == "1"

    asyncio.run(main())


@pytest.mark.skipif(len(CORES) < 2, reason="one core cannot be divided")
def test_without_groups_replicas_run_on_cores_of_their_own(short_dir):
    async def main():
        async with lab(short_dir) as at:
            own = {"OMP_NUM_THREADS": "7"}
            one = await at.start("a", limits=Resources(cpu=0.5))
            other = await at.start("b", limits=Resources(cpu=0.5), environment=own)
            assert one.limits == ("cpu: 1 core (affinity)",)
            assert await at.call(one, "cores") == str(CORES[0])
            assert await at.call(other, "cores") == str(CORES[1])
            assert await at.call(one, "OMP_NUM_THREADS") == "1"
            assert await at.call(other, "OMP_NUM_THREADS") == "7"
            assert await at.call(other, "MKL_NUM_THREADS") == "1"

    asyncio.run(main())


def test_the_memory_of_a_gpu_function_is_watched(short_dir):
    async def main():
        async with lab(short_dir, "GPU-a", "GPU-b") as at:
            source = "x = b'x' * (400 << 20)\nimport time; time.sleep(60)"
            limits = Resources(memory=256 * MIB, gpu=1)
            seen = await at.start(handler=source, limits=limits)
            assert seen.limits == ("memory: 256 MiB (watched)", "gpu: GPU-a")
            assert seen.exit
            assert seen.exit.code == -signal.SIGKILL
            assert "of memory, over its limit of 256 MiB (watched)" in seen.exit.reason
            # What it maps does not count: CUDA maps far more than it uses.
            source = "import mmap\nx = mmap.mmap(-1, 1 << 32)\n" + HANDLER
            seen = await at.start("b", handler=source, limits=limits)
            assert seen.state is ReplicaState.READY

    asyncio.run(main())


def test_each_gpu_has_one_replica_for_as_long_as_that_lives(short_dir):
    async def main():
        async with lab(short_dir, "GPU-a", "GPU-b") as at:
            one = await at.start("a", limits=Resources(gpu=1))
            other = await at.start("b", limits=Resources(gpu=1))
            assert await at.call(one, "CUDA_VISIBLE_DEVICES") == "GPU-a"
            assert await at.call(other, "CUDA_VISIBLE_DEVICES") == "GPU-b"
            assert (one.limits, other.limits) == (("gpu: GPU-a",), ("gpu: GPU-b",))
            at.engine = at.lab.engine(at.up.client, gpus=Gpus("GPU-a", "GPU-b"))
            with pytest.raises(GpuUnavailable, match="got 0 of 2 on this machine"):
                await at.start("c", limits=Resources(gpu=1))
            # The locks are the replicas' own: any other program of this project sees them.
            guards = at.lab.places.gpu_locks
            with pytest.raises(GpuUnavailable), reserve(1, at.engine._gpus.look(), guards):
                pass
            os.kill(await at.pid("b"), signal.SIGKILL)
            await at.seen("b", ReplicaState.EXITED)
            await at.engine.stop(other.id, 1)
            again = await at.start("b", limits=Resources(gpu=1))
            assert again.limits == ("gpu: GPU-b",)

    asyncio.run(main())


def test_many_at_once_do_not_get_the_same_gpu(short_dir):
    async def main():
        async with lab(short_dir, "GPU-a", "GPU-b") as at:
            one, other = await asyncio.gather(
                *(at.start(name, limits=Resources(gpu=1)) for name in ("a", "b"))
            )
            assert {*one.limits, *other.limits} == {"gpu: GPU-a", "gpu: GPU-b"}

    asyncio.run(main())


def test_without_any_gpu_it_depends_on_what_was_asked(short_dir):
    async def main():
        async with lab(short_dir) as at:
            seen = await at.start(limits=Resources(gpu=1))
            assert seen.limits == ("gpu: none on this machine, runs on the CPU",)
            with pytest.raises(GpuUnavailable):
                await at.start("b", requests=Resources(gpu=1))

    asyncio.run(main())


def test_a_function_that_is_to_have_no_gpu_sees_none(short_dir):
    async def main():
        async with lab(short_dir, "GPU-a") as at:
            seen = await at.start(limits=Resources(gpu=0))
            assert await at.call(seen, "CUDA_VISIBLE_DEVICES") == ""
            assert seen.limits == ()

    asyncio.run(main())


def _groups(pid: int) -> list[Path]:
    """The folders of the control groups of a process, where they are usually mounted."""
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found.append(Path(f"/sys/fs/cgroup/{controllers}{path}"))
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
