"""A gateway that others can reach: who may do what, with which key."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import grpc
import pytest

from dcf.client.client import Client
from dcf.errors import AccessDenied
from e2e.gateway_process import GatewayProcess, running
from process.stub import connected, failure

ECHO = """
class Handler:
    def __call__(self, req):
        return req.headers.get("authorization", "no key")
"""

FRONT = """
import dcf

class Handler:
    def __call__(self, req):
        return dcf.call("echo", req.input)
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("house")
    with running(folder, "--host", "0.0.0.0", shared=True) as house:
        house.deploy(house.write("echo", ECHO))
        house.deploy(house.write("front", FRONT))
        yield house


@pytest.fixture(scope="module")
def key(house: GatewayProcess) -> str:
    return make_key(house, "laptop")


def make_key(house: GatewayProcess, name: str) -> str:
    done = house.dcf("gateway", "key", "create", name)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def status(house: GatewayProcess, method: str, path: str, key: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return house.request(method, path, b"", headers)[0]


OPEN = [("GET", "/system/info"), ("GET", "/system/functions"), ("GET", "/metrics"),
        ("GET", "/system/function/echo"), ("POST", "/function/echo")]  # fmt: skip
MANAGED = [("GET", "/system/keys"), ("GET", "/system/function-log/echo"),
           ("GET", "/system/function/echo/events")]  # fmt: skip


def test_without_a_key_there_is_the_health_check_alone(house: GatewayProcess) -> None:
    assert status(house, "GET", "/healthz") == 200
    for method, path in (*OPEN, *MANAGED, ("POST", "/function/nobody"), ("GET", "/nothing")):
        code, headers, body = house.request(method, path)
        assert code == 401, path
        assert headers["www-authenticate"].startswith("Bearer")
        assert headers["x-request-id"]
        assert "gateway;dur=" in headers["server-timing"]
        assert json.loads(body)["error"] == "AccessDenied"


def test_a_key_calls_and_reads_and_the_management_token_does_all(
    house: GatewayProcess, key: str
) -> None:
    for method, path in OPEN:
        assert status(house, method, path, key) == 200, path
        assert status(house, method, path, house.token) == 200, path
    for method, path in MANAGED:
        assert status(house, method, path, key) in {401, 403}, path
        assert status(house, method, path, house.token) == 200, path
    assert status(house, "POST", "/function/nobody", key) == 404


def test_over_grpc_a_key_does_the_same(house: GatewayProcess, key: str) -> None:
    with connected(house.port) as stranger:
        for name in ("HealthCheck", "Info", "List", "Invoke", "Deploy", "Nothing"):
            if name == "Nothing":
                refused = failure(lambda: stranger.raw("/pb.Gateway/Nothing", b""))
            else:
                refused = stranger.error(name)
            assert refused[0] is grpc.StatusCode.UNAUTHENTICATED, name
    with connected(house.port, key) as caller:
        assert caller("HealthCheck").Msg == "ok"
        assert {one.Name for one in caller("List").Functions} == {"echo", "front"}
        assert caller("Invoke", Service="echo").Msg == "no key"
        code, message = caller.error("Delete", FunctionName="echo")
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert message == "expected the management token, got a key, which is only for calls"
    with connected(house.port, house.token) as manager:
        assert manager("GetLog", FunctionName="echo").Msg == ""


def test_a_key_in_use_is_shown_to_no_handler(house: GatewayProcess, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    assert house.request("POST", "/function/echo", b"", headers)[2] == b"no key"


def test_a_wrong_or_damaged_key_is_refused(house: GatewayProcess, key: str) -> None:
    for wrong in ("wrong", key[:-2], key + "x", "a.b.c"):
        assert status(house, "POST", "/function/echo", wrong) == 401
        assert status(house, "GET", "/system/functions", wrong) == 401


def test_the_command_line_uses_a_key_from_its_environment(house: GatewayProcess, key: str) -> None:
    stranger = {"DCF_STATE_DIR": str(house.folder / "elsewhere")}
    refused = house.dcf("function", "call", "echo", env=stranger)
    assert refused.returncode == 12
    assert b"token" in refused.stderr
    called = house.dcf("function", "call", "echo", env={**stranger, "DCF_TOKEN": key})
    assert (called.returncode, called.stdout) == (0, b"no key")
    deleted = house.dcf("function", "delete", "echo", env={**stranger, "DCF_TOKEN": key})
    assert deleted.returncode == 12
    assert status(house, "POST", "/function/echo", key) == 200


def test_a_key_that_is_revoked_is_soon_worth_nothing(house: GatewayProcess) -> None:
    short = make_key(house, "short")
    assert status(house, "POST", "/function/echo", short) == 200
    assert house.dcf("gateway", "key", "revoke", "short").returncode == 0
    house.until(lambda: status(house, "POST", "/function/echo", short) == 401, patience=10)
    assert status(house, "GET", "/system/functions", short) == 401


def test_functions_call_each_other_without_a_key(house: GatewayProcess, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    code, _, reply = house.request("POST", "/function/front", b"", headers)
    assert (code, reply) == (200, b"no key")


def test_a_key_is_good_while_the_control_plane_is_dead(house: GatewayProcess, key: str) -> None:
    before = house.pid("gateway.control")
    house.kill("gateway.control")
    for _ in range(20):
        assert status(house, "POST", "/function/echo", key) == 200
        assert status(house, "POST", "/function/echo") == 401
    house.until(lambda: house.pid("gateway.control") not in {0, before})
    house.until(lambda: status(house, "GET", "/system/functions", key) == 200)
    assert status(house, "POST", "/function/echo", key) == 200


def test_a_stream_needs_a_key_and_shows_it_to_no_handler(house: GatewayProcess, key: str) -> None:
    with Client(house.url, "no-key-at-all") as client, pytest.raises(AccessDenied):
        client.stream("echo", [])
    with Client(house.url, key) as client:
        assert list(client.stream("echo", [b"a", b"b"])) == [b"no key", b"no key"]


TALK = """
async def Handler(req):
    async for message in req.stream:
        yield message
"""


def test_a_key_that_is_revoked_ends_what_it_has_open(house: GatewayProcess) -> None:
    house.deploy(house.write("talk", TALK))
    key, other = make_key(house, "leaver"), make_key(house, "stayer")
    with (
        Client(house.url, key) as client,
        Client(house.url, other) as stays,
        connected(house.port, key) as stub,
        stub.talk(metadata=[("authorization", f"Bearer {key}")]) as talk,
    ):
        house.until(lambda: status(house, "POST", "/function/echo", key) == 200)
        house.until(lambda: status(house, "POST", "/function/echo", other) == 200)
        stream, kept = client.stream("talk", forever()), stays.stream("talk", forever())
        talk.send("talk", b"a")
        assert (next(stream), next(kept), talk.receive()) == (b"x", b"x", b"a")
        # What the control plane had said is not lost with it.
        before = house.pid("gateway.control")
        house.kill("gateway.control")
        house.until(lambda: house.pid("gateway.control") not in {0, before})
        house.until(lambda: status(house, "GET", "/system/functions", key) == 200)
        assert house.dcf("gateway", "key", "revoke", "leaver").returncode == 0
        began = time.monotonic()
        with pytest.raises(AccessDenied, match="the key was revoked during the call"):
            list(stream)
        assert talk.failure()[0] is grpc.StatusCode.UNAUTHENTICATED
        assert time.monotonic() - began < 3
        next(kept)
        kept.close()


def forever() -> Iterator[bytes]:
    while True:
        yield b"x"
        time.sleep(0.05)
