"""Numbers of replicas that cannot be had: refused where they are asked for, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dcf.builder.builder import Builder
from dcf.builder.package import package
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.model.spec_json import spec_to_json
from dcf.project.locate import locate
from e2e.gateway_process import GatewayProcess, running

ECHO = """
class Handler:
    def __call__(self, req):
        return req.input
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("echo", ECHO))
        yield house


@pytest.fixture(scope="module")
def deployable(house: GatewayProcess) -> dict[str, Any]:
    """A deploy as it is sent, of a function that nobody has deployed yet."""
    store = Store(house.places.store)
    folder = house.write("sized", ECHO)
    made = package(locate(None, None, folder), Builder(store, Uv(house.env)), store)
    spec = json.loads(spec_to_json(made.spec))
    return {"spec": spec, "bundle": made.artifact.bundle, "lock": made.artifact.lock}


@pytest.mark.parametrize(
    ("scaling", "told"),
    [
        ({"minimum": 3, "maximum": 2}, "min 3 is greater than max 2"),
        ({"maximum": 0}, "max: expected a number from 1 to 1000, got 0"),
        ({"minimum": -1}, ", got -1"),
        ({"minimum": 1001}, "min: expected a number from 0 to 1000, got 1001"),
        ({"minimum": "2"}, "minimum"),
        ({"maximum": 2.5}, "maximum"),
        ({"maximum": True}, "maximum"),
        ({"target": 0}, "target: expected a number above 0, got 0"),
        ({"idle": 0.1}, "idle: expected a number from 1 to 2592000, got 0.1"),
        ({"most": 3}, "most"),
        ([1, 3], "scaling"),
    ],
    ids=str,
)
def test_scaling_that_cannot_be_had_is_refused(
    house: GatewayProcess, deployable: dict[str, Any], scaling: Any, told: str
) -> None:
    within = deployable | {"spec": deployable["spec"] | {"scaling": scaling}}
    asked = [within]
    if isinstance(scaling, dict) and scaling.keys() <= {"minimum", "maximum"}:
        asked.append(deployable | scaling)
    for body in asked:
        status, problem = house.manage("POST", "/system/functions", json.dumps(body).encode())
        assert status == 400, problem
        assert told in problem["detail"]
    assert house.manage("GET", "/system/function/sized")[0] == 404, "nothing is half done"


def test_scaling_that_cannot_be_meant_is_told_at_the_command_line(house: GatewayProcess) -> None:
    folder = house.write("sized", ECHO)
    for options, code, told in (
        (("--min", "3", "--max", "2"), 3, b"min 3 is greater than max 2"),
        (("--max", "0"), 2, b"--max"),
        (("--min", "-1"), 2, b"--min"),
        (("--min", "two"), 2, b"'two' is not a valid integer"),
        (("--min", "1001"), 3, b"got 1001"),
    ):
        done = house.dcf("function", "deploy", f"{folder}/", *options)
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr.decode()
    for replicas in ("many", "1.5", "-1", "1001"):
        done = house.dcf("function", "scale", "echo", replicas)
        assert done.returncode in {2, 3}, done.stderr.decode()
        assert replicas.encode() in done.stderr
    house.write("sized", ECHO, config="    scaling: {min: 3, max: 2}\n")
    done = house.dcf("function", "deploy", f"{folder}/")
    assert done.returncode == 3
    assert b"config.yaml:4:" in done.stderr
    assert house.client.function("echo").replicas == 1
    assert house.manage("GET", "/system/function/sized")[0] == 404
