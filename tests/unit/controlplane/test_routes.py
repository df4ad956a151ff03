"""Every route of the table is served, authorised, documented and known to the client."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dcf.client import operations
from dcf.client.operation import Operation
from dcf.controlplane.deploy import deploy_request
from dcf.controlplane.http.openapi import document
from dcf.protocol import routes
from dcf.protocol.api_types import Deployment
from dcf.protocol.routes import ROUTES, AccessLevel, ApiRoute
from unit.controlplane.http_kit import DEPLOYMENT, DIGEST, READY, Served

HTTP_PAGE = next((Path(__file__).parents[3] / "docs").rglob("http.md"))

BODIES: dict[ApiRoute, object] = {
    routes.DEPLOY: DEPLOYMENT,
    routes.DEPLOY_AGAIN: DEPLOYMENT,
    routes.SCALE: {"name": "hello", "replicas": 1},
    routes.ANNOUNCE: {"files": [], "lock": ""},
    routes.SEND_BLOB: b"blob",
    routes.MAKE_KEY: {"name": "made"},
}
OTHER_ERRORS = {
    routes.PROMOTE: "RolloutInvalid",  # there is no canary
    routes.REVOKE_KEY: "PathUnknown",  # there is no such key
    **dict.fromkeys(routes.CALLS, "NotReady"),  # no replica is ready
}
REQUESTS: list[Operation[Any]] = [
    operations.functions(),
    operations.function("f"),
    operations.revisions("f"),
    operations.events("f"),
    operations.gateway_info(),
    operations.scale("f", 1),
    operations.rollback("f", 1),
    operations.promote("f"),
    operations.abort("f"),
    operations.delete("f"),
    operations.keys(),
    operations.make_key("k"),
    operations.revoke_key("k"),
    operations.logs("f", since=0, tail=1, follow=False, replica=""),
    operations.announce([], ""),
    operations.put_blob(DIGEST, 0, 0, b""),
    operations.send(routes.DEPLOY, {}, bytes),
    *(operations.call("f", b"", method=route.method) for route in routes.CALLS[::2]),
    *(operations.call("f", b"", method=route.method, path="x") for route in routes.CALLS[1::2]),
]
NOT_IN_THE_CLIENT = {
    routes.HEALTH: "for monitoring and dcf.gateway.probe",
    routes.METRICS: "for Prometheus",
    routes.OPENAPI: "for generators of clients",
    routes.DEPLOY_AGAIN: "the same as DEPLOY, for clients of the original",
}


def target_of(route: ApiRoute) -> str:
    return route.target(name="hello", digest=DIGEST, path="x")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_route_is_served_and_authorised(served: Served, closed: Served, route: ApiRoute) -> None:
    served.plane.steps = [READY]
    reply = served.ask(route.method, target_of(route), BODIES.get(route))
    anonymous = closed.ask(route.method, target_of(route), BODIES.get(route), token="")

    if route in OTHER_ERRORS:
        assert reply.json()["error"] == OTHER_ERRORS[route]
    else:
        assert reply.status == route.status
    assert (anonymous.status == 401) is (route.access is not AccessLevel.NOTHING)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_route_is_documented(route: ApiRoute) -> None:
    operation = document()["paths"][route.path][route.method.lower()]
    described = {parameter["name"] for parameter in operation.get("parameters", ())}
    on_page = re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), route.path)

    assert operation["operationId"] == route.operation
    assert re.fullmatch(r"[A-Z].*\.", operation["summary"])
    assert described >= {*re.findall(r"\{(\w+)\}", route.path)}
    assert route.tag == "calls" or on_page in HTTP_PAGE.read_text("utf-8")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_route_is_known_to_the_client(route: ApiRoute) -> None:
    path = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.path))
    requests = [
        request
        for request in REQUESTS
        if request.method == route.method and re.fullmatch(path, request.target.partition("?")[0])
    ]

    assert len(requests) == (route not in NOT_IN_THE_CLIENT)


def test_a_request_to_deploy_has_the_members_of_its_type() -> None:
    assert Deployment.__annotations__.keys() == deploy_request._MEMBERS.keys()
