"""The request of a deploy."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.errors import SpecInvalid
from dcf.model.artifact import Artifact, digest_of
from dcf.model.function import FunctionSpec

BUNDLE, LOCK = digest_of(b"bundle"), digest_of(b"lock")
LEAST: dict[str, Any] = {"spec": {"name": "hello"}, "bundle": BUNDLE, "lock": LOCK}


def test_missing_members_have_defaults() -> None:
    found = DeployRequest.from_members(LEAST)

    assert found == DeployRequest(FunctionSpec("hello"), Artifact(BUNDLE, LOCK))
    assert (found.wait, found.timeout, found.annotations) == (True, 300.0, None)


def test_all_members_are_read() -> None:
    more = {
        "minimum": 0,
        "maximum": 3,
        "annotations": {"who": "me"},
        "wait": False,
        "timeout": 5,
    }
    found = DeployRequest.from_members({**LEAST, **more})

    assert (found.minimum, found.maximum, found.annotations) == (0, 3, {"who": "me"})
    assert (found.wait, found.timeout) == (False, 5.0)


def test_null_leaves_the_settings_unchanged() -> None:
    members = {**LEAST, "minimum": None, "maximum": None, "annotations": None}

    assert DeployRequest.from_members(members) == DeployRequest.from_members(LEAST)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"bundle": "sha256:ABC"}, "bundle: expected sha256: and 64"),
        ({"lock": None}, "lock: expected sha256: and 64"),
        ({"spec": {}}, "name: "),
        ({"spec": {"name": "hello", "limits": {"memory": "1G"}}}, "limits.memory: "),
        ({"minimum": "1"}, "minimum: "),
        ({"minimum": True}, "minimum: "),
        ({"maximum": -1}, "max: expected a number from 1 to 1000, got -1"),
        ({"maximum": 10**9}, "max: expected a number from 1 to 1000, got 1000000000"),
        ({"minimum": 2, "maximum": 1}, "min 2 is greater than max 1"),
        ({"annotations": ["a"]}, "annotations: "),
        ({"annotations": {"a": 1}}, "annotations.a: "),
        ({"annotations": {"": "x"}}, "annotations.: "),
        ({"annotations": {"a": "\ud800"}}, "annotations.a: "),
        ({"wait": 1}, "wait: "),
        ({"timeout": 0}, "timeout: "),
        ({"timeout": math.nan}, "timeout: "),
        ({"timeout": math.inf}, "timeout: "),
        ({"timeout": 10**400}, "timeout: "),
        ({"timeout": True}, "timeout: "),
        ({"timeot": 5}, 'unknown field "timeot" (did you mean "timeout"?)'),
    ],
)
def test_an_invalid_member_is_named(more: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        DeployRequest.from_members({**LEAST, **more})

    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["spec", "bundle", "lock"])
def test_a_member_that_is_missing_is_named(name: str) -> None:
    members = {key: value for key, value in LEAST.items() if key != name}

    with pytest.raises(SpecInvalid, match=f"^{name}: missing"):
        DeployRequest.from_members(members)


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_anything_but_an_object_is_rejected(value: object) -> None:
    with pytest.raises(SpecInvalid, match="an object with spec"):
        DeployRequest.from_members(value)
