"""Impossible numbers of replicas are rejected where they are requested, and nothing changes."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        yield gateway


@pytest.fixture(scope="module")
def deployable(gateway: GatewayProcess) -> dict[str, Any]:
    """Return the request of a deploy of a function that does not exist yet."""
    store = Store(gateway.places.store)
    folder = gateway.write("sized", ECHO)
    made = package(locate(None, None, folder), Builder(store, Uv(gateway.env)), store)
    spec = json.loads(spec_to_json(made.spec))
    return {"spec": spec, "bundle": made.artifact.bundle, "lock": made.artifact.lock}


@pytest.mark.parametrize(
    ("scaling", "message"),
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
def test_scaling_that_is_impossible_is_rejected(
    gateway: GatewayProcess, deployable: dict[str, Any], scaling: Any, message: str
) -> None:
    within = deployable | {"spec": deployable["spec"] | {"scaling": scaling}}
    requests = [within]
    if isinstance(scaling, dict) and scaling.keys() <= {"minimum", "maximum"}:
        requests.append(deployable | scaling)
    for body in requests:
        status, problem = gateway.manage("POST", "/system/functions", json.dumps(body).encode())
        assert status == 400, problem
        assert message in problem["detail"]
    assert gateway.manage("GET", "/system/function/sized")[0] == 404, "nothing is half done"


def test_the_command_line_rejects_implausible_scaling(gateway: GatewayProcess) -> None:
    folder = gateway.write("sized", ECHO)
    for options, code, message in (
        (("--min", "3", "--max", "2"), 3, b"min 3 is greater than max 2"),
        (("--max", "0"), 2, b"--max"),
        (("--min", "-1"), 2, b"--min"),
        (("--min", "two"), 2, b"'two' is not a valid integer"),
        (("--min", "1001"), 3, b"got 1001"),
    ):
        result = gateway.dcf("function", "deploy", f"{folder}/", *options)
        assert (result.returncode, message in result.stderr) == (code, True), result.stderr.decode()
    for replicas in ("many", "1.5", "-1", "1001"):
        result = gateway.dcf("function", "scale", "echo", replicas)
        assert result.returncode in {2, 3}, result.stderr.decode()
        assert replicas.encode() in result.stderr
    gateway.write("sized", ECHO, config="    scaling: {min: 3, max: 2}\n")
    result = gateway.dcf("function", "deploy", f"{folder}/")
    assert result.returncode == 3
    assert b"config.yaml:4:" in result.stderr
    assert gateway.client.function("echo").replicas == 1
    assert gateway.manage("GET", "/system/function/sized")[0] == 404
