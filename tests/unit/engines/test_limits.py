"""Where control groups can be made, and what is said of limits."""

import os
from pathlib import Path

import pytest

from dcf.engines.local.cgroups import Cgroups, Parent, candidates
from dcf.engines.local.gpu import Demand, Gpu, Inventory, reserve
from dcf.engines.local.limit_enforcer import LimitEnforcer
from dcf.engines.local.limits import Limits, size
from dcf.engines.local.memory_watchdog import MemoryWatchdog
from dcf.engines.spec import replica_spec
from dcf.errors import GpuUnavailable
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec, Resources
from dcf.model.replica import ReplicaId
from dcf.settings import Locations, WatcherSettings

SYSTEMD = "25 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
DOCKER = (
    "700 6 0:31 /docker/ab /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n"
    "701 6 0:32 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "702 6 0:33 / /proc rw - proc proc rw\n"
)


def test_in_version_2_the_parent_is_a_place_too():
    own = "0::/user.slice/app.slice/shell.scope\n"
    found = list(candidates(own, SYSTEMD))
    app = Path("/sys/fs/cgroup/user.slice/app.slice")
    assert found == [
        ("memory", Parent(app / "shell.scope", 2)),
        ("memory", Parent(app, 2)),
        ("cpu", Parent(app / "shell.scope", 2)),
        ("cpu", Parent(app, 2)),
    ]


def test_in_a_container_the_top_is_not_left():
    assert [parent.folder for _, parent in candidates("0::/\n", SYSTEMD)] == [
        Path("/sys/fs/cgroup"),
        Path("/sys/fs/cgroup"),
    ]


def test_in_version_1_each_controller_has_a_place_of_its_own():
    own = "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab/inner\n1:name=systemd:/docker/ab\n"
    assert dict(candidates(own, DOCKER)) == {
        "memory": Parent(Path("/sys/fs/cgroup/memory/inner"), 1),
        "cpu": Parent(Path("/sys/fs/cgroup/cpu,cpuacct"), 1),
    }


def test_a_place_that_is_not_mounted_is_none():
    own = "4:memory:/elsewhere\n"
    assert list(candidates(own, DOCKER)) == []
    assert list(candidates(own, "")) == []


def test_a_group_of_version_2_has_one_folder_for_all_its_limits(tmp_path):
    groups = Cgroups({"memory": Parent(tmp_path, 2), "cpu": Parent(tmp_path, 2)})
    (folder,) = groups.make("g", memory=1 << 20, cpu=0.25)
    written = {file.name: file.read_text() for file in folder.iterdir()}
    assert written == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "25000 100000",
    }
    assert groups.oom_kills("g") == 0
    (folder / "memory.events").write_text("max 7\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert groups.oom_kills("g") == 1


def test_without_groups_nothing_is_made_and_nothing_removed():
    groups = Cgroups({})
    assert groups.version("memory") == 0
    assert groups.make("g") == ()
    assert groups.oom_kills("g") == 0
    assert groups.remove("g")
    groups.sweep("g", set())


def test_what_holds_is_told_and_kept():
    held = Limits(
        memory=1536 << 20,
        memory_by="cgroup v2",
        cpu=1.5,
        cpu_by="affinity",
        cores=(0, 3),
        gpus=("GPU-a", "GPU-b"),
    )
    assert held.describe() == (
        "memory: 1.5 GiB (cgroup v2)",
        "cpu: 2 cores (affinity)",
        "gpu: GPU-a, GPU-b",
    )
    assert held.thread_variables()["OMP_NUM_THREADS"] == "2"
    assert Limits.from_note(held.to_note()) == held
    assert Limits.from_note("") == Limits()
    assert Limits.from_note('{"cpu": 2, "newer": 1}') == Limits(cpu=2)
    assert Limits().describe() == ()
    assert Limits().thread_variables() == {}


@pytest.mark.parametrize(
    ("amount", "text"), [(1, "1 bytes"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB")]
)
def test_sizes_are_for_people(amount, text):
    assert size(amount) == text


def test_what_a_function_asks_of_the_gpus():
    nothing = Resources()
    assert Demand.of(nothing, nothing) == Demand(0, required=False, hidden=False)
    assert Demand.of(Resources(gpu=0), nothing) == Demand(0, required=False, hidden=True)
    assert Demand.of(Resources(gpu=2), nothing) == Demand(2, required=False, hidden=False)
    assert Demand.of(Resources(gpu=1), Resources(gpu=2)) == Demand(2, required=True, hidden=False)


def test_a_process_below_its_limit_is_left_alone():
    watch = MemoryWatchdog()
    watch.add("me", os.getpid(), 1 << 50)
    watch._check(dict(watch._watched))
    watch.forget("me")
    assert watch.ended == {}


class Machine:
    """A machine with two GPUs."""

    def look(self) -> Inventory:
        return Inventory((Gpu(0, "a", "Fake", 1), Gpu(1, "b", "Fake", 1)), "1")


def test_replicas_of_one_command_share_the_gpus_that_it_has_locked(tmp_path):
    env = {"HOME": str(tmp_path), "DCF_RUNTIME_DIR": str(tmp_path)}
    guards = Locations.from_mapping(env).gpu_locks

    def enforcer() -> LimitEnforcer:
        return LimitEnforcer(tmp_path, env, Machine(), Cgroups({}), keeps_gpus=True)

    def spec(gpus: int):
        artifact = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)
        function = FunctionSpec("f", limits=Resources(gpu=gpus))
        return replica_spec(ReplicaId("f.0.x"), 0, function, artifact, WatcherSettings())

    first, other = enforcer(), enforcer()
    chosen = first.confine(spec(1), {})
    assert chosen.gpus == ("a",)
    assert first.confine(spec(1), {ReplicaId("f.0.y"): chosen}).gpus == ("a",)
    assert first.settings(WatcherSettings(), ReplicaId("f.0.x"), chosen).gpu_locks == ""
    assert other.confine(spec(1), {}).gpus == ("b",)
    with pytest.raises(GpuUnavailable):
        first.confine(spec(2), {})
    other.close()
    assert first.confine(spec(2), {}).gpus == ("a", "b")
    first.close()
    with reserve(2, Machine().look(), guards) as free:
        assert len(free) == 2
