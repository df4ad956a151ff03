"""``pb.Gateway`` is the original's, so that clients that were compiled for it keep working."""

from __future__ import annotations

from typing import Any

import pytest

from dcf.rpc.gateway_messages import FIELDS, MESSAGES, METHODS, SERVICE
from process.stub import MAP, fields, messages, methods

ORIGINAL = {
    "InvokeServiceRequest": {"Service": (1, "string"), "Input": (2, "bytes")},
    "Message": {"Msg": (1, "string")},
    "Messages": {"Output": (1, "bytes")},
    "Empty": {},
    "CreateFunctionRequest": {
        "Service": (1, "string"),
        "Image": (2, "string"),
        "EnvVars": (3, MAP),
        "Labels": (4, MAP),
        "Annotations": (5, MAP),
        "Constraints": (6, "[string]"),
        "Secrets": (7, "[string]"),
        "RegistryAuth": (8, "string"),
        "Limits": (9, "FunctionResources"),
        "Requests": (10, "FunctionResources"),
        "MinReplicas": (11, "int32"),
        "MaxReplicas": (12, "int32"),
    },
    "DeleteFunctionRequest": {"FunctionName": (1, "string")},
    "FunctionRequest": {"FunctionName": (1, "string")},
    "ScaleServiceRequest": {"ServiceName": (1, "string"), "Replicas": (2, "uint64")},
    "Functions": {"Functions": (1, "[Function]")},
    "Function": {
        "Name": (1, "string"),
        "Image": (2, "string"),
        "InvocationCount": (3, "uint64"),
        "Replicas": (4, "uint64"),
        "AvailableReplicas": (5, "uint64"),
        "Annotations": (6, MAP),
        "Labels": (7, MAP),
    },
    "FunctionResources": {"Memory": (1, "string"), "CPU": (2, "string"), "GPU": (3, "string")},
}
"""The original's definitions, which clients have compiled in. They must never change."""

ORIGINAL_METHODS = {
    "Invoke": ("InvokeServiceRequest", "Message"),
    "Invokes": ("stream InvokeServiceRequest", "stream Messages"),
    "List": ("Empty", "Functions"),
    "Deploy": ("CreateFunctionRequest", "Message"),
    "Update": ("CreateFunctionRequest", "Message"),
    "Delete": ("DeleteFunctionRequest", "Message"),
    "GetMeta": ("FunctionRequest", "Function"),
    "GetLog": ("FunctionRequest", "Message"),
    "ReplicaUpdate": ("ScaleServiceRequest", "Message"),
    "Info": ("Empty", "Message"),
    "HealthCheck": ("Empty", "Message"),
}


def test_names_and_numbers_are_the_originals() -> None:
    assert SERVICE == "pb.Gateway"
    assert FIELDS == ORIGINAL
    assert METHODS == ORIGINAL_METHODS


def test_gateway_proto_has_the_same_definitions() -> None:
    assert fields() == ORIGINAL
    assert methods() == ORIGINAL_METHODS


FILLED: dict[str, dict[str, Any]] = {
    "InvokeServiceRequest": {"Service": "hello", "Input": b"\x00\xff"},
    "Message": {"Msg": "안녕"},
    "Messages": {"Output": b"\x00\xff"},
    "Empty": {},
    "CreateFunctionRequest": {
        "Service": "hello",
        "Image": "registry:5000/hello",
        "EnvVars": {"A": "1", "B": ""},
        "Labels": {"team": "vision"},
        "Annotations": {"note": "x"},
        "Constraints": ["zone == b", ""],
        "Secrets": ["api-key"],
        "RegistryAuth": "abc",
        "Limits": {"Memory": "1Gi", "CPU": "500m", "GPU": "1"},
        "Requests": {"Memory": "512Mi"},
        "MinReplicas": 1,
        "MaxReplicas": -1,
    },
    "DeleteFunctionRequest": {"FunctionName": "hello"},
    "FunctionRequest": {"FunctionName": "hello"},
    "ScaleServiceRequest": {"ServiceName": "hello", "Replicas": 2**64 - 1},
    "Functions": {"Functions": [{"Name": "a"}, {"Name": "b"}]},
    "Function": {
        "Name": "hello",
        "Image": "sha256:0",
        "InvocationCount": 2**40,
        "Replicas": 2,
        "AvailableReplicas": 1,
        "Annotations": {"note": "x"},
        "Labels": {"team": "vision"},
    },
    "FunctionResources": {"Memory": "1Gi", "CPU": "2", "GPU": "0"},
}


@pytest.mark.parametrize("name", ORIGINAL)
def test_a_compiled_client_and_the_gateway_understand_each_other(name: str) -> None:
    theirs, ours = messages()[name], MESSAGES[name]
    given = FILLED[name]
    assert set(given) == set(ORIGINAL[name])

    sent = theirs(**given).SerializeToString(deterministic=True)
    assert ours(**given).SerializeToString(deterministic=True) == sent
    assert ours.FromString(sent) == ours(**given)


def test_messages_match_bytes_written_by_hand() -> None:
    invoke = MESSAGES["InvokeServiceRequest"](Service="kit", Input=b"hi")
    scale = MESSAGES["ScaleServiceRequest"](ServiceName="kit", Replicas=300)
    create = MESSAGES["CreateFunctionRequest"](EnvVars={"A": "1"}, MaxReplicas=2)

    assert invoke.SerializeToString() == b"\x0a\x03kit\x12\x02hi"
    assert scale.SerializeToString() == b"\x0a\x03kit\x10\xac\x02"
    assert create.SerializeToString() == b"\x1a\x06\x0a\x01A\x12\x011\x60\x02"
