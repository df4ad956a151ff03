"""Access control of the HTTP interface."""

from __future__ import annotations

import pytest

from dcf.protocol.routes import ROUTES, AccessLevel
from unit.controlplane.http_kit import Served


def targets(access: AccessLevel) -> list[tuple[str, str]]:
    return [
        (route.method, route.path.format(name="nobody", digest="sha256:0", path="x"))
        for route in ROUTES
        if route.access is access
    ]


def paths(access: AccessLevel) -> list[str]:
    return sorted({route.path for route in ROUTES if route.access is access})


def test_few_routes_are_open() -> None:
    assert paths(AccessLevel.NOTHING) == ["/function/{name}", "/function/{name}/{path}", "/healthz"]
    assert paths(AccessLevel.KEY) == [
        "/metrics",
        "/openapi.json",
        "/system/function/{name}",
        "/system/functions",
        "/system/info",
    ]


@pytest.mark.parametrize(("method", "target"), targets(AccessLevel.MANAGEMENT))
def test_management_needs_the_management_token_on_every_gateway(
    served: Served, closed: Served, method: str, target: str
) -> None:
    key = served.tokens.issue("caller")
    try:
        for gateway in (served, closed):
            for token in ("", "wrong", key):
                answer = gateway.ask(method, target, token=token, x_forwarded_for="127.0.0.1")

                assert answer.status == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"] == "AccessDenied"
                assert not token or token.encode() not in answer.body
            assert gateway.ask(method, target).status != 401
    finally:
        served.tokens.revoke("caller")


@pytest.mark.parametrize(("method", "target"), [*targets(AccessLevel.KEY), ("GET", "/nowhere")])
def test_calls_and_lists_need_a_key_beyond_loopback(
    served: Served, closed: Served, method: str, target: str
) -> None:
    key = served.tokens.issue("caller")
    try:
        assert served.ask(method, target, token="").status != 401
        assert served.ask(method, target, token="wrong").status != 401
        assert closed.ask(method, target, token="").status == 401
        assert closed.ask(method, target, token="", forwarded="for=127.0.0.1").status == 401
        assert closed.ask(method, target, token=key).status != 401
    finally:
        served.tokens.revoke("caller")
    assert closed.ask(method, target, token=key).status == 401


def test_health_needs_no_token_on_any_gateway(closed: Served) -> None:
    assert closed.ask("GET", "/healthz", token="").status == 200
    assert closed.ask("POST", "/healthz", token="").status == 401


def test_a_call_of_an_unknown_function_is_answered_without_a_key(closed: Served) -> None:
    assert closed.ask("POST", "/function/helo", token="").json()["near"] == ["hello"]


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer  ", "bearer\tx", ""])
def test_an_invalid_header_is_not_a_bearer_token(closed: Served, value: str) -> None:
    answer = closed.ask("GET", "/system/info", token="", authorization=value)

    assert answer.status == 401


def test_the_scheme_bearer_is_case_insensitive(closed: Served) -> None:
    value = f"bEaReR {closed.tokens.management}"

    assert closed.ask("GET", "/system/info", token="", authorization=value).status == 200


def test_a_key_is_shown_once_listed_and_revoked(served: Served, closed: Served) -> None:
    made = served.ask("POST", "/system/keys", {"name": "robot"})
    taken = served.ask("POST", "/system/keys", {"name": "robot"})
    key = made.json()["key"]
    good = closed.ask("GET", "/system/info", token=key)
    revoked = served.ask("DELETE", "/system/keys/robot")
    again = served.ask("DELETE", "/system/keys/robot")
    listed = served.ask("GET", "/system/keys")

    assert (made.status, taken.status, good.status) == (201, 409, 200)
    assert (revoked.status, again.status) == (204, 404)
    assert closed.ask("GET", "/system/info", token=key).status == 401
    own = [one for one in listed.json() if one["name"] == "robot"]
    assert [sorted(one) for one in own] == [["created", "name", "revoked"]]
    assert own[0]["revoked"] is not None
    assert key.encode() not in listed.body


def test_a_key_needs_a_name(served: Served) -> None:
    assert served.ask("POST", "/system/keys", {}).status == 400
    assert served.ask("POST", "/system/keys", {"name": 3}).status == 400
