"""The deploy that a CreateFunctionRequest describes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.grpc.deploy_message import deployment_of
from dcf.errors import BlobsMissing, FunctionNotFound, InvalidName, SpecInvalid
from dcf.model.artifact import digest_of
from dcf.model.function import Resources
from dcf.rpc.gateway_messages import CreateFunctionRequest
from unit.controlplane.grpc_kit import SPEC, Plane
from unit.controlplane.http_kit import DIGEST


@pytest.fixture
def plane() -> Plane:
    return Plane()


def asked(plane: Plane, *, is_update: bool = False, **given: Any) -> DeployRequest:
    request = CreateFunctionRequest(**{"Service": "new", "Image": DIGEST, **given})
    return asyncio.run(deployment_of(plane, request, 9.0, is_update=is_update))


def test_a_deploy_runs_an_existing_artifact_under_any_name(plane: Plane) -> None:
    wanted = asked(plane)

    assert wanted.spec == replace(SPEC, name="new")
    assert wanted.artifact.digest
    assert (wanted.minimum, wanted.maximum, wanted.annotations) == (None, None, None)
    assert (wanted.wait, wanted.timeout, wanted.canary) == (True, 9.0, None)
    assert plane.asked == [(DIGEST, "new")]


def test_given_fields_are_merged_into_the_last_spec(plane: Plane) -> None:
    wanted = asked(
        plane,
        EnvVars={"B": "3", "C": "4"},
        Labels={"team": "vision"},
        Annotations={"note": "x"},
        Secrets=["token"],
        Constraints=["zone == b"],
        Limits={"Memory": "1Gi", "GPU": "0"},
        Requests={"CPU": "500m"},
        MinReplicas=1,
        MaxReplicas=4,
    )

    assert wanted.spec.environment == {"A": "1", "B": "3", "C": "4"}
    assert wanted.spec.labels == {"team": "vision"}
    assert wanted.spec.secrets == ("token",)
    assert wanted.spec.constraints == ("zone == b",)
    assert wanted.spec.limits == Resources(memory=1024**3, cpu=2.0, gpu=0)
    assert wanted.spec.requests == Resources(cpu=0.5)
    assert wanted.annotations == {"note": "x"}
    assert (wanted.minimum, wanted.maximum) == (1, 4)


def test_an_update_keeps_the_functions_other_settings(plane: Plane) -> None:
    known = replace(
        plane.known["hello"], desc="text", maintainer="me", annotations={"a": "1", "b": "2"}
    )
    plane.known["hello"] = known

    wanted = asked(plane, is_update=True, Service="hello", Image="", Annotations={"b": "3"})

    assert (wanted.spec.desc, wanted.spec.maintainer) == ("text", "me")
    assert wanted.spec.labels == {"a": "b"}
    assert wanted.annotations == {"a": "1", "b": "3"}


def test_an_update_needs_a_function(plane: Plane) -> None:
    with pytest.raises(FunctionNotFound) as caught:
        asked(plane, is_update=True, Service="helo")
    assert list(caught.value.near) == ["hello"]


@pytest.mark.parametrize(
    "image", ["", "registry:5000/hello", "sha256:12", DIGEST.upper(), digest_of(b"another")]
)
def test_an_unknown_artifact_is_rejected(plane: Plane, image: str) -> None:
    with pytest.raises(BlobsMissing):
        asked(plane, Image=image)
    with pytest.raises(BlobsMissing):
        asked(plane, Service="hello", Image=image)


def test_an_image_of_a_registry_is_rejected_with_advice(plane: Plane) -> None:
    with pytest.raises(BlobsMissing) as caught:
        asked(plane, Image="registry:5000/" + "x" * 1000)
    assert "'registry:5000/xxx" in str(caught.value)
    assert "Deploy the function's folder with `dcf-cli function deploy`" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["", "New", "a/b", "a\0"])
def test_an_invalid_name_is_rejected(plane: Plane, name: str) -> None:
    with pytest.raises(InvalidName):
        asked(plane, Service=name)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"Limits": {"Memory": "1Kb"}},
            "Limits.Memory: expected an amount such as 512Mi or 1G, or a number",
        ),
        (
            {"Limits": {"CPU": "much"}},
            "Limits.CPU: expected a number of cores such as 2, 0.5 or 500m, got",
        ),
        ({"Requests": {"GPU": "0.5"}}, "Requests.GPU: expected a whole number of GPUs, got '0.5'"),
        ({"Limits": {"CPU": "-1"}}, "got '-1'"),
        ({"EnvVars": {"DCF_LISTEN": "x"}}, "environment: expected a variable's name"),
        ({"EnvVars": {"a b": "x"}}, "environment: expected a variable's name"),
        ({"EnvVars": {"A": "x\0"}}, "environment"),
        ({"Secrets": ["../key"]}, "secrets"),
        ({"Annotations": {"": "x"}}, "Annotations"),
        ({"Annotations": {"a": "x\0"}}, "Annotations.a: expected a text without NUL"),
        ({"MinReplicas": 3, "MaxReplicas": 2}, "min 3 is greater than max 2"),
        ({"MinReplicas": -1}, "min"),
        ({"MaxReplicas": 1_000_000}, "max"),
    ],
)
def test_an_invalid_field_is_named(plane: Plane, given: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        asked(plane, **given)
    assert told in str(caught.value)
