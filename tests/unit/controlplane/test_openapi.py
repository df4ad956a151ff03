"""The OpenAPI document against the interface that it describes."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from dcf.controlplane.http.openapi import document
from dcf.controlplane.http.schemas import SCHEMA_NAMES
from dcf.model.event import Event
from dcf.model.function import FunctionSpec, HandlerRef, Resources
from dcf.model.scaling import ScalingSpec
from dcf.model.status import (
    Failure,
    FunctionStatus,
    GatewayInfo,
    MissingBlob,
    ReplicaLine,
    ReplicaStatus,
    RevisionStatus,
)
from dcf.protocol.progress import Progress
from dcf.protocol.routes import ROUTES, AccessLevel
from unit.controlplane.http_kit import DEPLOYMENT, DIGEST, READY, Served

DOCUMENT = document()
SCHEMAS = """
Announced Announcement Deployment Digest Event EventKind Failure FunctionSpec
FunctionState FunctionStatus GatewayInfo HandlerRef Key KeyWanted NewKey Problem Progress
ProgressKind Received ReplicaLine ReplicaState ReplicaStatus Resources RevisionStatus
Rollback Scale ScalingWish Wanting
"""
OPERATIONS = """
abort announce call_delete call_delete_path call_get call_get_path call_options
call_options_path call_patch call_patch_path call_post call_post_path call_put
call_put_path delete_function deploy deploy_again health info list_events list_functions
list_keys list_revisions make_key metrics openapi promote read_log revoke_key roll_back
scale_function send_blob show_function
"""


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_document_has_every_route_and_no_other() -> None:
    described = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }

    assert described == {(route.method, route.path) for route in ROUTES}


def test_names_that_generated_clients_use_never_change() -> None:
    assert sorted(DOCUMENT["components"]["schemas"]) == SCHEMAS.split()
    assert sorted(route.operation for route in ROUTES) == OPERATIONS.split()


def test_the_document_says_where_a_token_is_needed() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]

        assert ({} in operation["security"]) is (route.access is not AccessLevel.MANAGEMENT)
        assert ("401" in operation["responses"]) is (route.access is not AccessLevel.NOTHING)


@pytest.mark.parametrize(
    "record",
    [
        Event,
        Failure,
        FunctionSpec,
        FunctionStatus,
        GatewayInfo,
        HandlerRef,
        Progress,
        ReplicaLine,
        ReplicaStatus,
        Resources,
        RevisionStatus,
        ScalingSpec,
        MissingBlob,
    ],
)
def test_schemas_have_the_members_of_the_records(record: type) -> None:
    schema = DOCUMENT["components"]["schemas"][SCHEMA_NAMES.get(record, record.__name__)]

    assert list(schema["properties"]) == [one.name for one in fields(record)]
    if schema.get("additionalProperties") is False:
        needed = [one.name for one in fields(record) if _is_needed(one)]
        assert schema["required"] == needed


def test_the_document_is_served(served: Served) -> None:
    assert served.ask("GET", "/openapi.json", token="").json() == DOCUMENT


def _is_needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


ASKED = [
    ("GET", "/system/functions", "/system/functions", None),
    ("GET", "/system/function/hello", "/system/function/{name}", None),
    ("GET", "/system/function/nobody", "/system/function/{name}", None),
    ("GET", "/system/function/hello/revisions", "/system/function/{name}/revisions", None),
    ("GET", "/system/function/hello/events", "/system/function/{name}/events", None),
    ("GET", "/system/info", "/system/info", None),
    ("GET", "/system/keys", "/system/keys", None),
    ("PUT", "/system/functions", "/system/functions", DEPLOYMENT),
    (
        "PUT",
        "/system/scale-function",
        "/system/scale-function",
        {"name": "hello", "replicas": 2},
    ),
    (
        "PUT",
        "/system/scale-function",
        "/system/scale-function",
        {"name": "hello", "replicas": None},
    ),
    (
        "POST",
        "/system/function/hello/rollback",
        "/system/function/{name}/rollback",
        {"revision": 1},
    ),
    ("POST", "/system/function/hello/promote", "/system/function/{name}/promote", None),
    ("POST", "/system/function/hello/abort", "/system/function/{name}/abort", None),
    (
        "POST",
        "/system/uploads",
        "/system/uploads",
        {"files": [["a", DIGEST, 1, False]], "lock": ""},
    ),
    ("PUT", f"/system/blobs/{DIGEST}", "/system/blobs/{digest}", b"bl"),
]


@pytest.mark.parametrize(("method", "target", "path", "body"), ASKED)
def test_requests_and_replies_match_their_schemas(
    served: Served, method: str, target: str, path: str, body: Any
) -> None:
    served.plane.steps = [READY]
    operation = DOCUMENT["paths"][path][method.lower()]
    answer = served.ask(method, target, body)
    responses = operation["responses"]
    media_type = answer.headers["content-type"].partition(";")[0]
    told = responses.get(str(answer.status), responses["default"])["content"][media_type]

    _check(told["schema"], answer.json())
    if isinstance(body, dict):
        _check(operation["requestBody"]["content"]["application/json"]["schema"], body)


def _check(schema: dict[str, Any], value: object) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(value)


def test_every_member_and_schema_has_a_description() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for member, its_schema in schema.get("properties", {}).items():
            assert re.match(r"[A-Z0-9]|host:port", its_schema["description"]), (name, member)
            assert not re.search(r"\bNone\b|``", its_schema["description"]), (name, member)
