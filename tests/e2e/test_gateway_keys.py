"""A gateway that is open to the network: what each kind of key allows."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with running(folder, "--host", "0.0.0.0", shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        gateway.deploy(gateway.write("front", FRONT))
        yield gateway


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    return make_key(gateway, "laptop")


def make_key(gateway: GatewayProcess, name: str) -> str:
    result = gateway.dcf("gateway", "key", "create", name)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode().strip()


def status(gateway: GatewayProcess, method: str, path: str, key: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return gateway.request(method, path, b"", headers)[0]


OPEN = [("GET", "/system/info"), ("GET", "/system/functions"), ("GET", "/metrics"),
        ("GET", "/system/function/echo"), ("POST", "/function/echo")]  # fmt: skip
MANAGED = [("GET", "/system/keys"), ("GET", "/system/function-log/echo"),
           ("GET", "/system/function/echo/events")]  # fmt: skip


def test_without_a_key_only_the_health_check_is_open(gateway: GatewayProcess) -> None:
    assert status(gateway, "GET", "/healthz") == 200
    for method, path in (*OPEN, *MANAGED, ("POST", "/function/nobody"), ("GET", "/nothing")):
        code, headers, body = gateway.request(method, path)
        assert code == 401, path
        assert headers["www-authenticate"].startswith("Bearer")
        assert headers["x-request-id"]
        assert "gateway;dur=" in headers["server-timing"]
        assert json.loads(body)["error"] == "AccessDenied"


def test_a_key_allows_calls_and_reads_and_the_management_token_everything(
    gateway: GatewayProcess, key: str
) -> None:
    for method, path in OPEN:
        assert status(gateway, method, path, key) == 200, path
        assert status(gateway, method, path, gateway.token) == 200, path
    for method, path in MANAGED:
        assert status(gateway, method, path, key) in {401, 403}, path
        assert status(gateway, method, path, gateway.token) == 200, path
    assert status(gateway, "POST", "/function/nobody", key) == 404


def test_a_key_allows_the_same_over_grpc(gateway: GatewayProcess, key: str) -> None:
    with connected(gateway.port) as stranger:
        for name in ("HealthCheck", "Info", "List", "Invoke", "Deploy", "Nothing"):
            if name == "Nothing":
                refused = failure(lambda: stranger.raw("/pb.Gateway/Nothing", b""))
            else:
                refused = stranger.error(name)
            assert refused[0] is grpc.StatusCode.UNAUTHENTICATED, name
    with connected(gateway.port, key) as caller:
        assert caller("HealthCheck").Msg == "ok"
        assert {function.Name for function in caller("List").Functions} == {"echo", "front"}
        assert caller("Invoke", Service="echo").Msg == "no key"
        code, message = caller.error("Delete", FunctionName="echo")
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert message == "expected the management token, got a key, which is only for calls"
    with connected(gateway.port, gateway.token) as manager:
        assert manager("GetLog", FunctionName="echo").Msg == ""


def test_handlers_do_not_see_the_key_of_a_call(gateway: GatewayProcess, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    assert gateway.request("POST", "/function/echo", b"", headers)[2] == b"no key"


def test_a_wrong_or_damaged_key_is_rejected(gateway: GatewayProcess, key: str) -> None:
    for wrong in ("wrong", key[:-2], key + "x", "a.b.c"):
        assert status(gateway, "POST", "/function/echo", wrong) == 401
        assert status(gateway, "GET", "/system/functions", wrong) == 401


def test_the_command_line_uses_a_key_from_its_environment(
    gateway: GatewayProcess, key: str
) -> None:
    stranger = {"DCF_STATE_DIR": str(gateway.folder / "elsewhere")}
    refused = gateway.dcf("function", "call", "echo", env=stranger)
    assert refused.returncode == 12
    assert b"token" in refused.stderr
    called = gateway.dcf("function", "call", "echo", env={**stranger, "DCF_TOKEN": key})
    assert (called.returncode, called.stdout) == (0, b"no key")
    deleted = gateway.dcf("function", "delete", "echo", env={**stranger, "DCF_TOKEN": key})
    assert deleted.returncode == 12
    assert status(gateway, "POST", "/function/echo", key) == 200


def test_a_revoked_key_is_soon_rejected(gateway: GatewayProcess) -> None:
    short = make_key(gateway, "short")
    assert status(gateway, "POST", "/function/echo", short) == 200
    assert gateway.dcf("gateway", "key", "revoke", "short").returncode == 0
    gateway.until(lambda: status(gateway, "POST", "/function/echo", short) == 401, patience=10)
    assert status(gateway, "GET", "/system/functions", short) == 401


def test_functions_call_each_other_without_a_key(gateway: GatewayProcess, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    code, _, reply = gateway.request("POST", "/function/front", b"", headers)
    assert (code, reply) == (200, b"no key")


def test_a_key_works_while_the_control_plane_is_down(gateway: GatewayProcess, key: str) -> None:
    before = gateway.pid("gateway.control")
    gateway.kill("gateway.control")
    for _ in range(20):
        assert status(gateway, "POST", "/function/echo", key) == 200
        assert status(gateway, "POST", "/function/echo") == 401
    gateway.until(lambda: gateway.pid("gateway.control") not in {0, before})
    gateway.until(lambda: status(gateway, "GET", "/system/functions", key) == 200)
    assert status(gateway, "POST", "/function/echo", key) == 200


def test_a_stream_needs_a_key_and_hides_it_from_the_handler(
    gateway: GatewayProcess, key: str
) -> None:
    with Client(gateway.url, "no-key-at-all") as client, pytest.raises(AccessDenied):
        client.stream("echo", [])
    with Client(gateway.url, key) as client:
        assert list(client.stream("echo", [b"a", b"b"])) == [b"no key", b"no key"]


TALK = """
async def Handler(req):
    async for message in req.stream:
        yield message
"""


def test_revoking_a_key_ends_its_open_streams(gateway: GatewayProcess) -> None:
    gateway.deploy(gateway.write("talk", TALK))
    key, remaining_key = make_key(gateway, "leaver"), make_key(gateway, "stayer")
    with (
        Client(gateway.url, key) as client,
        Client(gateway.url, remaining_key) as remaining_client,
        connected(gateway.port, key) as stub,
        stub.talk(metadata=[("authorization", f"Bearer {key}")]) as talk,
    ):
        gateway.until(lambda: status(gateway, "POST", "/function/echo", key) == 200)
        gateway.until(lambda: status(gateway, "POST", "/function/echo", remaining_key) == 200)
        stream, remaining = (
            client.stream("talk", forever()),
            remaining_client.stream("talk", forever()),
        )
        talk.send("talk", b"a")
        assert (next(stream), next(remaining), talk.receive()) == (b"x", b"x", b"a")
        # The revocation survives the control plane.
        before = gateway.pid("gateway.control")
        gateway.kill("gateway.control")
        gateway.until(lambda: gateway.pid("gateway.control") not in {0, before})
        gateway.until(lambda: status(gateway, "GET", "/system/functions", key) == 200)
        assert gateway.dcf("gateway", "key", "revoke", "leaver").returncode == 0
        began = time.monotonic()
        with pytest.raises(AccessDenied, match="the key was revoked during the call"):
            list(stream)
        assert talk.failure()[0] is grpc.StatusCode.UNAUTHENTICATED
        assert time.monotonic() - began < 3
        next(remaining)
        remaining.close()


def forever() -> Iterator[bytes]:
    while True:
        yield b"x"
        time.sleep(0.05)
