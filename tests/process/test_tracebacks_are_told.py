"""Who gets tracebacks: callers on this machine and callers with the management token."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.activation.activator import ActivationRefused
from dcf.controlplane.ext_authz import ExtAuthz
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.server import HttpServer
from dcf.controlplane.tokens import Tokens
from dcf.errors import HandlerImportFailed
from process.elsewhere import relay
from process.plane import Plane
from process.stub import Stub
from process.websockets_client import closed, connect, error_word

PATIENCE = 20
REMOTE = "x-dcf-remote"
KINDS = pytest.mark.parametrize("kind", ["", "async "])
CALLERS = pytest.mark.parametrize(
    ("headers", "may_see"),
    [({}, True), ({REMOTE: "management"}, True), ({REMOTE: "0f"}, False), ({REMOTE: ""}, False)],
)

HANDLER = """
class Handler:
    {kind}def __call__(self, req):
        if req.path == "/stream":
            return self.stream()
        raise ValueError("not so")

    {kind}def stream(self):
        yield "one"
        raise ValueError("not so")
"""

GENERATOR = """
{kind}def Handler(req):
    {kind}for message in req.stream:
        yield message
        raise ValueError("not so")
"""


CALLER = """
import dcf

def Handler(req):
    try:
        return dcf.call("each", req.input)
    except dcf.errors.HandlerRaised as error:
        assert "handler.py" in error.traceback
        raise
"""


def shows(problem: dict[str, Any]) -> bool:
    """Whether a problem document has a traceback. The rest of it must be there in any case."""
    assert (problem["error"], problem["exception"]) == ("HandlerRaised", "ValueError")
    assert problem["detail"] == "ValueError: not so"
    assert problem["request_id"]
    assert ("handler.py" in json.dumps(problem)) == ("traceback" in problem)
    return "traceback" in problem


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def post(running, path: str, body: Any, headers: dict[str, str]) -> tuple[int, bytes]:
    """A call; an iterator for a body goes in chunks."""
    with contextlib.closing(_Unix(running.endpoint.removeprefix("unix:"))) as connection:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@KINDS
@CALLERS
def test_a_reply(launch_shared, kind, headers, may_see):
    running = launch_shared(HANDLER.format(kind=kind), function=f"a{kind.strip()}")
    for body in (b"x", iter([b"x", b"y"]), b"x" * 300_000):
        status, reply = post(running, "/", body, headers)
        assert status == 500
        assert shows(json.loads(reply)) is may_see
    assert "handler.py" in running.log


@KINDS
@CALLERS
def test_a_stream_over_http(launch_shared, kind, headers, may_see):
    running = launch_shared(HANDLER.format(kind=kind), function=f"a{kind.strip()}")
    lines = post(running, "/stream", b"x", {**headers, "Accept": "application/x-ndjson"})[1]
    assert shows(json.loads(lines.splitlines()[1])["error"]) is may_see
    events = post(running, "/stream", b"x", {**headers, "Accept": "text/event-stream"})[1]
    [error] = [event for event in events.split(b"\n\n") if event.startswith(b"event: error")]
    assert shows(json.loads(error.partition(b"data: ")[2])) is may_see


@KINDS
@CALLERS
def test_a_websocket(launch_shared, kind, headers, may_see):
    running = launch_shared(GENERATOR.format(kind=kind), function=f"b{kind.strip()}")
    with connect(running, additional_headers=headers) as client:
        client.send("one")
        assert client.recv(5) == b"one"
        assert shows(error_word(client)["problem"]) is may_see
        assert closed(client) == (1011, "ValueError: not so")


# Through a gateway that is open to the network


@pytest.fixture
def gateway(short_dir, launch, tmp_path) -> Iterator[tuple[Plane, Tokens]]:
    plane = Plane(short_dir, open=False)
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        tokens = Tokens(b"s" * 32, catalog.keys)
        keys = HttpServer(KeySet(tokens).app, plane.sockets.keys)
        holds = ExtAuthz(_Failing(), short_dir)  # type: ignore[arg-type]
        plane.judge = holds.judge
        try:
            plane.do(keys.start())
            plane.start()
            plane.start_bridge()
            plane.set("each", launch(HANDLER.format(kind=""), function="each").endpoint)
            inside = {"DCF_GATEWAY": f"unix:{plane.sockets.calls}"}
            first = launch(CALLER, function="first", environment=inside.items())
            plane.set("first", first.endpoint)
            yield plane, tokens
        finally:
            plane.do(keys.stop())
            plane.stop()


class _Failing:
    """Every start failed."""

    async def hold(self, _name: str, _since: float, _deadline: float | None) -> None:
        raise ActivationRefused(
            HandlerImportFailed("handler.py could not be imported", 'File "handler.py"')
        )


def over_http(port: int, token: str, path: str) -> dict[str, Any]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, PATIENCE)) as connection:
        connection.request("POST", path, b"x", {"Authorization": f"Bearer {token}", REMOTE: "x"})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found


def over_grpc(port: int, token: str, method: str) -> str:
    """Everything that a gRPC caller gets to see."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub = Stub(channel, token)
        try:
            reply = stub(method, Service="each", Input=b"x", metadata=[(REMOTE, "management")])
        except grpc.RpcError as error:
            details: str = error.details()
            return details
        return str(reply)


def told(port: int, token: str) -> set[bool]:
    """Return whether the caller gets tracebacks, for every kind of call."""
    held = over_http(port, token, "/function/none")
    assert (held["error"], held["detail"]) == (
        "HandlerImportFailed",
        "handler.py could not be imported",
    )
    found = {shows(over_http(port, token, "/function/each")), "traceback" in held}
    for method in ("Invoke", "Invokes"):
        message = over_grpc(port, token, method)
        assert "ValueError: not so" in message
        found.add("handler.py" in message)
    return found


def test_what_a_function_is_told_by_another_one_goes_no_further(gateway):
    plane, tokens = gateway
    key = tokens.issue("caller")
    plane.until(lambda: plane.call("/function/first", authorization=f"Bearer {key}")[0] == 500)
    with relay(plane.port) as elsewhere:
        far = over_http(elsewhere, key, "/function/first")
        near = over_http(elsewhere, tokens.management, "/function/first")
    assert far["detail"] == near["detail"] == "dcf.errors.HandlerRaised: ValueError: not so"
    assert "handler.py" not in json.dumps(far)
    assert "handler.py" in near["traceback"]


def test_a_gateway_tells_its_own_machine_and_its_manager_only(gateway):
    plane, tokens = gateway
    key = tokens.issue("caller")
    plane.until(lambda: plane.call("/function/each", authorization=f"Bearer {key}")[0] == 500)
    assert told(plane.port, key) == {True}
    with relay(plane.port) as elsewhere:
        assert told(elsewhere, key) == {False}
        assert told(elsewhere, tokens.management) == {True}
