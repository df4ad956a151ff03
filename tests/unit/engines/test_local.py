"""GPUs, folders and variables of replicas on this machine."""

import stat
from pathlib import Path

import pytest

from dcf.engines.local.gpu import Gpu, Inventory, Nvml, describe, reserve, restrict, visible_devices
from dcf.engines.local.watcher_process import replica_environment
from dcf.errors import GpuUnavailable, StorageError
from dcf.files.runtime_folder import make_private
from dcf.settings import WatcherSettings

GIB = 1 << 30


def _inventory(states: str) -> Inventory:
    gpus = tuple(
        Gpu(index, f"GPU-{index}", "Fake", 16 * GIB, busy=state == "busy")
        for index, state in enumerate(states.split())
    )
    return Inventory(gpus, "999.1")


def test_free_gpus_are_reserved_and_given_back(tmp_path):
    two = _inventory("free free")
    with reserve(1, two, tmp_path) as first, reserve(1, two, tmp_path) as second:
        assert [gpu.index for gpu in (*first, *second)] == [0, 1]
        with pytest.raises(GpuUnavailable, match=r"expected 1 free GPU\(s\), got 0 of 2"):
            reserve(1, two, tmp_path).__enter__()
    with reserve(2, two, tmp_path) as both:
        assert visible_devices([gpu.uuid for gpu in both]) == {
            "CUDA_VISIBLE_DEVICES": "GPU-0,GPU-1"
        }


def test_a_busy_gpu_is_not_free(tmp_path):
    with reserve(1, _inventory("busy free"), tmp_path) as taken:
        assert [gpu.index for gpu in taken] == [1]
    with pytest.raises(GpuUnavailable) as caught:
        reserve(2, _inventory("busy free"), tmp_path).__enter__()
    assert (caught.value.wanted, caught.value.free, caught.value.present) == (2, 1, 2)


def test_what_failed_to_be_reserved_is_free_again(tmp_path):
    one = _inventory("free")
    with pytest.raises(GpuUnavailable):
        reserve(2, one, tmp_path).__enter__()
    with reserve(1, one, tmp_path) as taken:
        assert len(taken) == 1


def test_without_any_gpu_it_depends(tmp_path):
    with reserve(1, Inventory(), tmp_path) as taken:
        assert taken == ()
    with pytest.raises(GpuUnavailable):
        reserve(1, Inventory(), tmp_path, required=True).__enter__()


def test_the_users_own_choice_of_devices_is_kept():
    three = _inventory("free free free")
    assert restrict(three, {}) == three
    assert [g.index for g in restrict(three, {"CUDA_VISIBLE_DEVICES": "2,GPU-0"}).gpus] == [0, 2]
    assert restrict(three, {"CUDA_VISIBLE_DEVICES": ""}).gpus == ()


def test_the_real_source_answers_on_any_machine():
    inventory = Nvml().look()
    assert bool(inventory.gpus) == bool(inventory.driver)


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="this machine has no NVIDIA GPU")
def test_the_real_source_knows_this_machines_gpu():
    inventory = Nvml().look()
    assert inventory.gpus[0].memory > GIB
    assert inventory.gpus[0].uuid.startswith("GPU-")


def test_a_folder_for_sockets_is_private(tmp_path):
    make_private(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_folder_for_sockets_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="expected a folder of this user"):
        make_private(tmp_path / "s")


def test_the_gpus_are_described_with_the_driver():
    used = Gpu(1, "GPU-1", "Model B", 24 * GIB, memory_used=20 * GIB)
    inventory = Inventory((Gpu(0, "GPU-0", "Model A", 16 * GIB), used), "600.1")
    assert describe(inventory) == (
        "driver 600.1",
        "0: Model A, 0 of 16384 MiB used",
        "1: Model B, 20480 of 24576 MiB used",
    )
    assert describe(Inventory()) == ("no NVIDIA GPU",)


@pytest.mark.parametrize(
    ("memory", "kept"), [(0, 64 << 20), (4 * GIB, 64 << 20), (256 << 20, 32 << 20)]
)
def test_how_much_free_memory_a_replica_keeps_goes_by_its_limit(memory, kept):
    found = replica_environment(WatcherSettings(), {}, {}, {}, memory=memory)
    assert found["MALLOC_TRIM_THRESHOLD_"] == str(kept)
    assert found["MALLOC_MMAP_THRESHOLD_"] == str(kept // 2)


def test_what_the_user_or_the_author_says_of_memory_counts():
    around, author = {"MALLOC_TRIM_THRESHOLD_": "1"}, {"MALLOC_MMAP_THRESHOLD_": "2"}
    found = replica_environment(WatcherSettings(), author, {}, around)
    assert (found["MALLOC_TRIM_THRESHOLD_"], found["MALLOC_MMAP_THRESHOLD_"]) == ("1", "2")
