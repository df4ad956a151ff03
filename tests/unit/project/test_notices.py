from __future__ import annotations

import pytest

from dcf.model.function import FunctionSpec, Resources
from dcf.model.scaling import ScalingSpec
from dcf.project.notices import notices


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (FunctionSpec("f"), ()),
        (FunctionSpec("f", build_args=(("PYTHON_VERSION", "3.12"),)), ()),
        (FunctionSpec("f", image="x"), ("f: image has an effect only in images",)),
        (
            FunctionSpec(
                "f",
                docker_registry="r:1",
                image="r:1/f",
                build_args=(("CUDA_VERSION", "9.0"), ("PYTHON_VERSION", "3.12")),
                build_options=("libgl1",),
            ),
            (
                "f: docker_registry, image, build_args (CUDA_VERSION) and build_options have an effect only in images",
            ),
        ),
        (
            FunctionSpec("f", image="x", constraints=("a",), labels={"b": "c"}),
            (
                "f: image has an effect only in images",
                "f: constraints and labels have an effect only in clusters",
            ),
        ),
        (
            FunctionSpec("f", limits=Resources(memory=1, gpu=1), requests=Resources(cpu=0.5)),
            ("f: requests.cpu has an effect only in clusters",),
        ),
        (
            FunctionSpec("f", scaling=ScalingSpec(0)),
            ("f: scaling has an effect only in deployments, not in run and serve",),
        ),
    ],
)
def test_notices(spec: FunctionSpec, expected: tuple[str, ...]) -> None:
    assert notices(spec) == expected


def test_behind_a_gateway_limits_hold_and_what_lists_show_has_its_use() -> None:
    spec = FunctionSpec(
        "f",
        docker_registry="r:1",
        image="x",
        labels={"b": "c"},
        limits=Resources(memory=1),
        requests=Resources(memory=1),
        scaling=ScalingSpec(0),
    )

    assert notices(spec, deployed=True) == (
        "f: docker_registry has an effect only in images",
        "f: requests.memory has an effect only in clusters",
    )
