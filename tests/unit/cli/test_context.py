"""GPUs as run and serve report and reserve them."""

import io
from dataclasses import replace

import pytest

from dcf.cli.console import Console
from dcf.cli.context import CommandContext
from dcf.engines.local.gpu import Gpu, Inventory
from dcf.errors import GpuUnavailable
from dcf.model.function import FunctionSpec, Resources

GIB = 1 << 30
TWO = Inventory(
    (
        Gpu(0, "GPU-aa", "Model A", 24 * GIB, memory_used=20 * GIB, busy=True),
        Gpu(1, "GPU-bb", "Model B", 80 * GIB),
    ),
    driver="600.1",
)


class FakeGpus:
    """A machine with the GPUs that it is given."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def look(self) -> Inventory:
        return self.inventory


@pytest.fixture
def shop(tmp_path):
    """A workshop on a machine with some GPUs, and what it says."""

    def make(inventory: Inventory, **variables: str) -> tuple[CommandContext, io.StringIO]:
        said = io.StringIO()
        places = {"DCF_DATA_DIR": str(tmp_path / "d"), "DCF_RUNTIME_DIR": str(tmp_path / "r")}
        env = {"HOME": str(tmp_path), **places, **variables}
        return CommandContext(Console(stream=said), env, FakeGpus(inventory)), said

    return make


def spec(limit: int | None = None, request: int | None = None) -> FunctionSpec:
    return replace(FunctionSpec("f"), limits=Resources(gpu=limit), requests=Resources(gpu=request))


def test_the_report_names_driver_and_devices(shop):
    workshop, said = shop(TWO)
    with workshop.gpus(spec(), required=False):
        pass
    assert said.getvalue().splitlines() == [
        "GPU: driver 600.1",
        "     0: Model A, 20480 of 24576 MiB used",
        "     1: Model B, 0 of 81920 MiB used",
    ]


def test_without_a_wish_the_devices_are_left_as_they_are(shop):
    workshop, _ = shop(TWO)
    with workshop.gpus(spec(), required=False) as variables:
        assert variables == {}


def test_a_limit_of_none_hides_them(shop):
    workshop, _ = shop(TWO)
    with workshop.gpus(spec(limit=0), required=False) as variables:
        assert variables == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("given", "required"), [(spec(1), False), (spec(None, 1), False), (spec(), True)]
)
def test_a_wish_reserves_a_free_one(shop, given, required):
    workshop, said = shop(TWO)
    with workshop.gpus(given, required=required) as variables:
        assert variables == {"CUDA_VISIBLE_DEVICES": "GPU-bb"}
        with pytest.raises(GpuUnavailable), workshop.gpus(given, required=required):
            pass
    assert "using GPU 1" in said.getvalue()


def test_too_few_free_is_an_error_that_names_both(shop):
    workshop, _ = shop(TWO)
    with (
        pytest.raises(GpuUnavailable, match=r"expected 2 free GPU\(s\), got 1 of 2"),
        workshop.gpus(spec(2), required=False),
    ):
        pass


def test_without_any_gpu_a_limit_runs_on_the_cpu_and_a_request_fails(shop):
    workshop, said = shop(Inventory())
    with workshop.gpus(spec(1), required=False) as variables:
        assert variables == {}
    assert "running on the CPU" in said.getvalue()
    with pytest.raises(GpuUnavailable), workshop.gpus(spec(1, 1), required=False):
        pass


def test_the_users_own_choice_of_devices_counts(shop):
    workshop, _ = shop(TWO, CUDA_VISIBLE_DEVICES="0")
    with (
        pytest.raises(GpuUnavailable, match="got 0 of 1 on this machine"),
        workshop.gpus(spec(1), required=False),
    ):
        pass
