"""pb.Gateway as a client of the original uses it: a stub of docs/gateway.proto and an insecure
channel."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        asleep = gateway.write("asleep", KIT, config="    scaling: {min: 0, max: 1, idle: 1s}\n")
        gateway.deploy(asleep, "--no-wait")
        gateway.deploy(gateway.write("kit", KIT, config="    queue: 1\n"))
        yield gateway


@pytest.fixture
def stub(gateway: GatewayProcess) -> Iterator[Stub]:
    """Return a client of the original: it has no token and sends no metadata."""
    with connected(gateway.port) as stub:
        yield stub


@pytest.fixture
def manager(gateway: GatewayProcess) -> Iterator[Stub]:
    with connected(gateway.port, gateway.token) as stub:
        yield stub


def invoke(stub: Stub, data: str | bytes = b"", name: str = "kit", **more) -> str:
    body = data.encode() if isinstance(data, str) else data
    reply: str = stub("Invoke", Service=name, Input=body, **more).Msg
    return reply


def refused(stub: Stub, data: str | bytes = b"", name: str = "kit", **more):
    return failure(lambda: invoke(stub, data, name, **more))


# Methods that need no token


def test_invoke_returns_the_reply(stub: Stub) -> None:
    assert invoke(stub, "hello") == "hello"
    assert invoke(stub, "안녕하세요") == "안녕하세요"
    assert invoke(stub, "x" * LARGEST) == "x" * LARGEST


def test_loopback_callers_need_no_token_to_read(stub: Stub, gateway: GatewayProcess) -> None:
    info = json.loads(stub("Info").Msg)
    assert (info["functions"], info["open"]) == (2, True)
    assert stub("HealthCheck").Msg == "ok"
    listed = {function.Name: function for function in stub("List").Functions}
    assert set(listed) == {"asleep", "kit"}
    meta = stub("GetMeta", FunctionName="kit")
    before = meta.InvocationCount
    assert (meta.Name, meta.Replicas, meta.AvailableReplicas) == ("kit", 1, 1)
    assert meta.Image == listed["kit"].Image == gateway.client.function("kit").artifact
    invoke(stub, "counted")
    gateway.until(lambda: stub("GetMeta", FunctionName="kit").InvocationCount == before + 1)


def test_a_client_without_a_deadline_is_served(stub: Stub) -> None:
    assert invoke(stub, "hello", timeout=None) == "hello"
    assert stub("HealthCheck", timeout=None).Msg == "ok"


def test_metadata_passes_in_both_directions_except_credentials(stub: Stub) -> None:
    invoke_raw = stub._channel.unary_unary("/pb.Gateway/Invoke")
    metadata = [("x-request-id", "mine"), ("x-own", "word"), ("authorization", "Bearer x")]
    reply, call = invoke_raw.with_call(
        b"\x0a\x03kit\x12\x07headers", timeout=PATIENCE, metadata=metadata
    )
    seen = json.loads(messages()["Message"].FromString(reply).Msg)
    assert (seen["x-request-id"], seen["x-own"]) == ("mine", "word")
    assert "authorization" not in seen
    metadata = list(call.initial_metadata())
    assert ("x-request-id", "mine") in metadata
    timing = ", ".join(value for name, value in metadata if name == "server-timing")
    assert "handler;dur=" in timing
    assert "gateway;dur=" in timing


# Methods that need a token


@pytest.mark.parametrize("name", MANAGEMENT)
def test_management_needs_the_token(gateway: GatewayProcess, stub: Stub, name: str) -> None:
    code, message = stub.error(name, **MANAGEMENT[name])
    assert (code, "expected a token in the header" in message) == (Code.UNAUTHENTICATED, True)
    with connected(gateway.port, "wrong") as stranger:
        assert stranger.error(name, **MANAGEMENT[name])[0] is Code.UNAUTHENTICATED
    assert gateway.client.function("kit").replicas == 1


def test_a_function_is_deployed_scaled_and_deleted(
    gateway: GatewayProcess, manager: Stub, stub: Stub
) -> None:
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
    gateway.until(lambda: stub("GetMeta", FunctionName="copy").AvailableReplicas == 2)

    lines = manager("GetLog", FunctionName="copy").Msg.splitlines()
    assert len([line for line in lines if line.endswith(" ready to work")]) >= 3

    assert manager("Delete", FunctionName="copy").Msg == "copy is deleted"
    assert refused(stub, "x", "copy")[0] is Code.NOT_FOUND


def test_a_deploy_of_an_unknown_image_is_rejected(manager: Stub, stub: Stub) -> None:
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


# Invalid input


def test_the_answer_for_an_unknown_function_names_similar_functions(stub: Stub) -> None:
    code, message = refused(stub, "x", "kitt")
    assert (code, message.endswith(" (did you mean kit?)")) == (Code.NOT_FOUND, True), message
    assert stub.error("GetMeta", FunctionName="kitt") == (code, message)


def test_an_exception_of_a_handler_is_reported_with_type_and_traceback(stub: Stub) -> None:
    code, message = refused(stub, "raise")
    assert code is Code.INTERNAL
    assert message.startswith("LookupError: no such thing\nTraceback")
    assert "handler.py" in message


def test_an_exceeded_deadline_is_reported(stub: Stub) -> None:
    assert refused(stub, "wait", timeout=0.3)[0] is Code.DEADLINE_EXCEEDED
    assert invoke(stub, "next") == "next"


def test_calls_over_the_limit_of_held_calls_are_rejected(stub: Stub) -> None:
    codes: list[grpc.StatusCode] = []

    def call() -> None:
        codes.append(refused(stub, "wait", timeout=1)[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
    assert codes[0] is Code.RESOURCE_EXHAUSTED, "the rejection is immediate"


def test_a_reply_that_is_not_text_is_an_error(stub: Stub) -> None:
    code, message = refused(stub, "bytes")
    assert (code, "base64" in message) == (Code.INTERNAL, True)


@pytest.mark.parametrize("name", sorted(methods().keys() - {"Invokes"}))
def test_a_malformed_message_is_rejected(gateway: GatewayProcess, stub: Stub, name: str) -> None:
    metadata = [("authorization", f"Bearer {gateway.token}")]
    code, message = failure(lambda: stub.raw(f"/pb.Gateway/{name}", b"\x0a\xff", metadata=metadata))
    message_type = methods()[name][0]
    assert (code, message) == (
        Code.INVALID_ARGUMENT,
        f"the message is malformed: expected {message_type}",
    )


def test_a_message_over_the_limit_is_rejected(manager: Stub, gateway: GatewayProcess) -> None:
    code, message = refused(manager, b"x" * (LARGEST + 1))
    assert (code, str(LARGEST) in message) == (Code.RESOURCE_EXHAUSTED, True)
    code, _ = manager.error("Update", Service="kit", EnvVars={"A": "x" * server.LARGEST})
    assert code is Code.RESOURCE_EXHAUSTED
    assert invoke(manager, "next") == "next"
    assert gateway.client.function("kit").revision == 1


@pytest.mark.parametrize(
    ("method", "suggestion"),
    [
        ("/pb.Gateway/invoke", "(did you mean /pb.Gateway/Invoke?)"),
        ("/pb.Gateway/GetLogs", "(did you mean /pb.Gateway/GetLog?)"),
        ("/pb.Gateway/Xyz", "(did you mean a method of pb.Gateway?)"),
        ("/gateway.Gateway/List", "(did you mean /pb.Gateway/List?)"),
        ("/grpc.reflection.v1.ServerReflection/Info", "(did you mean /pb.Gateway/Info?)"),
    ],
)
def test_an_unknown_method_is_rejected_with_a_suggestion(
    stub: Stub, method: str, suggestion: str
) -> None:
    code, message = failure(partial(stub.raw, method, b""))
    assert (code, suggestion in message) == (Code.UNIMPLEMENTED, True), message


@pytest.mark.parametrize("method", ["Invoke", "List", "Nothing"])
def test_a_client_that_speaks_http_1_is_rejected(gateway: GatewayProcess, method: str) -> None:
    grpc_type = {"content-type": "application/grpc"}
    body = b"\0\0\0\0\5\x0a\x03kit"
    path = f"/pb.Gateway/{method}"
    status, headers, reply = gateway.request("POST", path, body, grpc_type)
    problem = json.loads(reply)
    assert (status, problem["error"]) == (400, "BadRequest")
    assert "needs gRPC: HTTP/2, content-type application/grpc" in problem["detail"]
    # With all headers of gRPC, which a proxy may pass on, it is answered as gRPC.
    status, headers, _ = gateway.request("POST", path, body, grpc_type | {"te": "trailers"})
    assert (status, headers["content-type"]) == (200, "application/grpc")


# Cold starts


def test_a_call_starts_a_replica(stub: Stub, gateway: GatewayProcess) -> None:
    gateway.until(lambda: stub("GetMeta", FunctionName="asleep").AvailableReplicas == 0)
    assert invoke(stub, "hello", "asleep") == "hello"


def test_a_failed_cold_start_gives_the_traceback(stub: Stub, gateway: GatewayProcess) -> None:
    broken = Slow(gateway, "broken", BROKEN)
    calls = [
        stub._channel.unary_unary("/pb.Gateway/Invoke").future(b"\x0a\x06broken", timeout=PATIENCE)
        for _ in range(3)
    ]
    with contextlib.ExitStack() as stack:
        for call in calls:
            stack.callback(call.cancel)
        gateway.until(lambda: held(gateway) == len(calls))
        broken.let()
        for call in calls:
            assert call.code() is Code.UNAVAILABLE
            assert "no model" in call.details()
            assert "handler.py" in call.details()
