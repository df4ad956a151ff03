"""pb.Gateway as an old client has it: a stub of docs/gateway.proto, an insecure channel, no more."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from dcf.controlplane.grpc import server
from dcf.dataplane.grpc import LARGEST
from e2e.gateway_process import PATIENCE, GatewayProcess, running
from e2e.test_gateway_cold import BROKEN, Slow, held
from process.stub import Stub, connected, failure, messages, methods

Code = grpc.StatusCode

KIT = """
import os, threading

class Handler:
    def __init__(self):
        print("ready to work", flush=True)

    def __call__(self, req):
        word = req.input[:100].decode("latin-1")
        if word == "raise":
            raise LookupError("no such thing")
        if word == "bytes":
            return b"\\xff\\xfe"
        if word == "headers":
            return dict(req.headers)
        if word == "greeting":
            return os.environ.get("GREETING", "")
        if word == "wait":
            while not req.cancelled:
                threading.Event().wait(0.01)
        return req.input
"""

MANAGEMENT: dict[str, dict[str, Any]] = {
    "Deploy": {"Service": "other"},
    "Update": {"Service": "kit"},
    "Delete": {"FunctionName": "kit"},
    "GetLog": {"FunctionName": "kit"},
    "ReplicaUpdate": {"ServiceName": "kit", "Replicas": 2},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        asleep = house.write("asleep", KIT, config="    scaling: {min: 0, max: 1, idle: 1s}\n")
        house.deploy(asleep, "--no-wait")
        house.deploy(house.write("kit", KIT, config="    queue: 1\n"))
        yield house


@pytest.fixture
def stub(house: GatewayProcess) -> Iterator[Stub]:
    """An old client: it knows of no token, and sends no metadata."""
    with connected(house.port) as stub:
        yield stub


@pytest.fixture
def manager(house: GatewayProcess) -> Iterator[Stub]:
    with connected(house.port, house.token) as stub:
        yield stub


def invoke(stub: Stub, data: str | bytes = b"", name: str = "kit", **more) -> str:
    body = data.encode() if isinstance(data, str) else data
    reply: str = stub("Invoke", Service=name, Input=body, **more).Msg
    return reply


def refused(stub: Stub, data: str | bytes = b"", name: str = "kit", **more):
    return failure(lambda: invoke(stub, data, name, **more))


# What is asked for without a token


def test_invoke(stub: Stub) -> None:
    assert invoke(stub, "hello") == "hello"
    assert invoke(stub, "안녕하세요") == "안녕하세요"
    assert invoke(stub, "x" * LARGEST) == "x" * LARGEST


def test_what_is_open_on_this_machine(stub: Stub, house: GatewayProcess) -> None:
    info = json.loads(stub("Info").Msg)
    assert (info["functions"], info["open"]) == (2, True)
    assert stub("HealthCheck").Msg == "ok"
    listed = {one.Name: one for one in stub("List").Functions}
    assert set(listed) == {"asleep", "kit"}
    meta = stub("GetMeta", FunctionName="kit")
    before = meta.InvocationCount
    assert (meta.Name, meta.Replicas, meta.AvailableReplicas) == ("kit", 1, 1)
    assert meta.Image == listed["kit"].Image == house.client.function("kit").artifact
    invoke(stub, "counted")
    house.until(lambda: stub("GetMeta", FunctionName="kit").InvocationCount == before + 1)


def test_a_client_that_never_heard_of_deadlines(stub: Stub) -> None:
    assert invoke(stub, "hello", timeout=None) == "hello"
    assert stub("HealthCheck", timeout=None).Msg == "ok"


def test_metadata_goes_both_ways_and_credentials_do_not(stub: Stub) -> None:
    invoke_raw = stub._channel.unary_unary("/pb.Gateway/Invoke")
    metadata = [("x-request-id", "mine"), ("x-own", "word"), ("authorization", "Bearer x")]
    reply, call = invoke_raw.with_call(
        b"\x0a\x03kit\x12\x07headers", timeout=PATIENCE, metadata=metadata
    )
    seen = json.loads(messages()["Message"].FromString(reply).Msg)
    assert (seen["x-request-id"], seen["x-own"]) == ("mine", "word")
    assert "authorization" not in seen
    told = list(call.initial_metadata())
    assert ("x-request-id", "mine") in told
    timing = ", ".join(value for name, value in told if name == "server-timing")
    assert "handler;dur=" in timing
    assert "gateway;dur=" in timing


# What needs one


@pytest.mark.parametrize("name", MANAGEMENT)
def test_management_needs_the_token(house: GatewayProcess, stub: Stub, name: str) -> None:
    code, message = stub.error(name, **MANAGEMENT[name])
    assert (code, "expected a token in the header" in message) == (Code.UNAUTHENTICATED, True)
    with connected(house.port, "wrong") as stranger:
        assert stranger.error(name, **MANAGEMENT[name])[0] is Code.UNAUTHENTICATED
    assert house.client.function("kit").replicas == 1


def test_a_functions_life(house: GatewayProcess, manager: Stub, stub: Stub) -> None:
    digest = stub("GetMeta", FunctionName="kit").Image
    made = manager(
        "Deploy",
        Service="copy",
        Image=digest,
        EnvVars={"GREETING": "hello"},
        Labels={"team": "vision"},
        Annotations={"note": "of a test"},
        Limits={"Memory": "1Gi"},
        MinReplicas=1,
        MaxReplicas=2,
    )
    assert made.Msg == "copy: revision 1, 1 of 1 replicas ready"
    assert invoke(stub, "greeting", "copy") == "hello"
    meta = stub("GetMeta", FunctionName="copy")
    assert (meta.Labels, meta.Annotations) == ({"team": "vision"}, {"note": "of a test"})

    updated = manager("Update", Service="copy", EnvVars={"GREETING": "good morning"})
    assert updated.Msg == "copy: revision 2, 1 of 1 replicas ready"
    assert invoke(stub, "greeting", "copy") == "good morning"
    assert stub("GetMeta", FunctionName="copy").Labels == {"team": "vision"}

    scaled = manager("ReplicaUpdate", ServiceName="copy", Replicas=2)
    assert scaled.Msg == "copy: 2 replicas requested, 1 ready"
    house.until(lambda: stub("GetMeta", FunctionName="copy").AvailableReplicas == 2)

    lines = manager("GetLog", FunctionName="copy").Msg.splitlines()
    assert len([line for line in lines if line.endswith(" ready to work")]) >= 3

    assert manager("Delete", FunctionName="copy").Msg == "copy is deleted"
    assert refused(stub, "x", "copy")[0] is Code.NOT_FOUND


def test_a_deploy_of_what_there_is_not(manager: Stub, stub: Stub) -> None:
    code, message = manager.error("Deploy", Service="new", Image="registry:5000/new")
    assert code is Code.FAILED_PRECONDITION
    assert "expected an artifact's digest" in message
    assert "got 'registry:5000/new'" in message
    code, message = manager.error("Deploy", Service="new", Image="sha256:" + "0" * 64)
    assert (code, "the gateway has no artifact" in message) == (Code.FAILED_PRECONDITION, True)
    code, message = manager.error("Update", Service="kitt")
    assert (code, message.endswith("(did you mean kit?)")) == (Code.NOT_FOUND, True)
    digest = stub("GetMeta", FunctionName="kit").Image
    code, message = manager.error("Deploy", Service="new", Image=digest, Limits={"CPU": "much"})
    assert code is Code.INVALID_ARGUMENT
    assert message.startswith("Limits.CPU: expected ")
    assert message.endswith("got 'much'")
    assert stub.error("GetMeta", FunctionName="new")[0] is Code.NOT_FOUND


# Bad input


def test_an_unknown_function_is_told_with_the_nearest_names(stub: Stub) -> None:
    code, message = refused(stub, "x", "kitt")
    assert (code, message.endswith(" (did you mean kit?)")) == (Code.NOT_FOUND, True), message
    assert stub.error("GetMeta", FunctionName="kitt") == (code, message)


def test_a_handler_that_raises_is_told_with_type_and_traceback(stub: Stub) -> None:
    code, message = refused(stub, "raise")
    assert code is Code.INTERNAL
    assert message.startswith("LookupError: no such thing\nTraceback")
    assert "handler.py" in message


def test_a_deadline(stub: Stub) -> None:
    assert refused(stub, "wait", timeout=0.3)[0] is Code.DEADLINE_EXCEEDED
    assert invoke(stub, "next") == "next"


def test_more_calls_than_may_wait(stub: Stub) -> None:
    codes: list[grpc.StatusCode] = []

    def call() -> None:
        codes.append(refused(stub, "wait", timeout=1)[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
    assert codes[0] is Code.RESOURCE_EXHAUSTED, "it is told at once"


def test_a_reply_that_is_no_text(stub: Stub) -> None:
    code, message = refused(stub, "bytes")
    assert (code, "base64" in message) == (Code.INTERNAL, True)


@pytest.mark.parametrize("name", sorted(methods().keys() - {"Invokes"}))
def test_a_malformed_message(house: GatewayProcess, stub: Stub, name: str) -> None:
    metadata = [("authorization", f"Bearer {house.token}")]
    code, message = failure(lambda: stub.raw(f"/pb.Gateway/{name}", b"\x0a\xff", metadata=metadata))
    asked = methods()[name][0]
    assert (code, message) == (
        Code.INVALID_ARGUMENT,
        f"the message is malformed: expected {asked}",
    )


def test_a_message_over_the_limit(manager: Stub, house: GatewayProcess) -> None:
    code, message = refused(manager, b"x" * (LARGEST + 1))
    assert (code, str(LARGEST) in message) == (Code.RESOURCE_EXHAUSTED, True)
    code, _ = manager.error("Update", Service="kit", EnvVars={"A": "x" * server.LARGEST})
    assert code is Code.RESOURCE_EXHAUSTED
    assert invoke(manager, "next") == "next"
    assert house.client.function("kit").revision == 1


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("/pb.Gateway/invoke", "(did you mean /pb.Gateway/Invoke?)"),
        ("/pb.Gateway/GetLogs", "(did you mean /pb.Gateway/GetLog?)"),
        ("/pb.Gateway/Xyz", "(did you mean a method of pb.Gateway?)"),
        ("/gateway.Gateway/List", "(did you mean /pb.Gateway/List?)"),
        ("/grpc.reflection.v1.ServerReflection/Info", "(did you mean /pb.Gateway/Info?)"),
    ],
)
def test_a_method_that_there_is_not(stub: Stub, method: str, told: str) -> None:
    code, message = failure(partial(stub.raw, method, b""))
    assert (code, told in message) == (Code.UNIMPLEMENTED, True), message


@pytest.mark.parametrize("method", ["Invoke", "List", "Nothing"])
def test_a_client_that_speaks_http_1(house: GatewayProcess, method: str) -> None:
    grpc_type = {"content-type": "application/grpc"}
    body = b"\0\0\0\0\5\x0a\x03kit"
    path = f"/pb.Gateway/{method}"
    status, headers, reply = house.request("POST", path, body, grpc_type)
    problem = json.loads(reply)
    assert (status, problem["error"]) == (400, "BadRequest")
    assert "needs gRPC: HTTP/2, content-type application/grpc" in problem["detail"]
    # With all that gRPC says about itself, as a proxy may pass it on: answered as gRPC.
    status, headers, _ = house.request("POST", path, body, grpc_type | {"te": "trailers"})
    assert (status, headers["content-type"]) == (200, "application/grpc")


# Cold


def test_a_cold_start(stub: Stub, house: GatewayProcess) -> None:
    house.until(lambda: stub("GetMeta", FunctionName="asleep").AvailableReplicas == 0)
    assert invoke(stub, "hello", "asleep") == "hello"


def test_a_cold_start_that_fails_gives_the_traceback(stub: Stub, house: GatewayProcess) -> None:
    broken = Slow(house, "broken", BROKEN)
    calls = [
        stub._channel.unary_unary("/pb.Gateway/Invoke").future(b"\x0a\x06broken", timeout=PATIENCE)
        for _ in range(3)
    ]
    with contextlib.ExitStack() as stack:
        for call in calls:
            stack.callback(call.cancel)
        house.until(lambda: held(house) == len(calls))
        broken.let()
        for call in calls:
            assert call.code() is Code.UNAVAILABLE
            assert "no model" in call.details()
            assert "handler.py" in call.details()
