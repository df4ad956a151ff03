"""The control plane's gRPC interface."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from functools import partial

import grpc
import pytest

from dcf.controlplane.grpc import servicer
from dcf.controlplane.grpc.server import LARGEST, RULES
from dcf.errors import HandlerInitFailed, StartTimeout
from dcf.model.status import ReplicaLine
from dcf.protocol.progress import Progress, ProgressKind
from dcf.protocol.routes import AccessLevel
from dcf.rpc.gateway_messages import METHODS
from process.stub import PATIENCE, Stub, failure
from unit.controlplane.grpc_kit import Plane, Served, serving
from unit.controlplane.http_kit import DIGEST, READY, status

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    with serving(tmp_path_factory.mktemp("grpc")) as found:
        yield found


@pytest.fixture
def served(_servers: dict[str, Served]) -> Served:
    """The control plane of an open gateway, in its initial state."""
    found = _servers["open"]
    Plane.__init__(found.plane)
    return found


@pytest.fixture
def closed(_servers: dict[str, Served]) -> Served:
    found = _servers["closed"]
    Plane.__init__(found.plane)
    return found


@pytest.fixture
def stub(served: Served) -> Stub:
    return served.manager


# Reading


def test_functions_are_listed_and_shown(stub: Stub, served: Served) -> None:
    listed = stub("List").Functions
    shown = stub("GetMeta", FunctionName="hello")

    assert [one.Name for one in listed] == ["hello", "thumb"]
    assert listed[0] == shown
    assert (shown.Image, shown.InvocationCount) == (DIGEST, 7)
    assert (shown.Replicas, shown.AvailableReplicas, dict(shown.Labels)) == (1, 1, {"a": "b"})


def test_a_log_replaces_half_of_a_character(stub: Stub, served: Served) -> None:
    assert stub("GetLog", FunctionName="hello").Msg == (
        "1970-01-01T00:00:01.500Z r1 eins\n1970-01-01T00:00:02.250Z r2 zwei?\n"
    )
    assert served.plane.asked == [(0.0, servicer.LINES, False, "")]


def test_only_the_end_of_a_long_log_is_returned(stub: Stub, served: Served) -> None:
    served.plane.lines = [ReplicaLine(1.0, "r1", f"{n} " + "x" * 16_000) for n in range(200)]

    lines = stub("GetLog", FunctionName="hello").Msg.splitlines()

    assert sum(len(line) + 1 for line in lines) <= servicer.LOG_SIZE
    assert len(lines) == 65
    assert " r1 199 x" in lines[-1]


def test_info_is_the_same_as_over_http(stub: Stub) -> None:
    info = json.loads(stub("Info").Msg)

    assert (info["version"], info["functions"]) == ("1.2.3", 2)
    assert stub("HealthCheck").Msg == "ok"


# Changes


def test_the_number_of_replicas_is_set(stub: Stub, served: Served) -> None:
    assert stub("ReplicaUpdate", ServiceName="hello", Replicas=3).Msg == (
        "hello: 3 replicas requested, 1 ready"
    )
    assert stub("ReplicaUpdate", ServiceName="hello").Msg == "hello: 0 replicas requested, 1 ready"
    assert served.plane.asked == [3, 0]


def test_a_function_is_deleted(stub: Stub, served: Served) -> None:
    assert stub("Delete", FunctionName="hello").Msg == "hello is deleted"
    assert set(served.plane.known) == {"thumb"}
    assert stub.error("Delete", FunctionName="hello")[0] is Code.NOT_FOUND


@pytest.mark.parametrize("method", ["Deploy", "Update"])
def test_a_deploy_replies_with_its_result(stub: Stub, served: Served, method: str) -> None:
    served.plane.steps = [Progress(ProgressKind.REVISION, number=1), READY]

    told = stub(method, Service="hello", Image=DIGEST).Msg

    assert told == "hello: revision 1, 1 of 1 replicas ready"


def test_a_deploy_that_cannot_start_replies_with_the_traceback(stub: Stub, served: Served) -> None:
    served.plane.steps = [HandlerInitFailed("Handler() failed", traceback="Traceback ...")]

    assert stub.error("Deploy", Service="hello", Image=DIGEST) == (
        Code.UNAVAILABLE,
        "Handler() failed\nTraceback ...",
    )


def test_a_deploy_waits_as_long_as_its_client(stub: Stub, served: Served) -> None:
    served.plane.steps = [READY]
    for timeout in (20, None, 0.4):
        stub("Deploy", Service="hello", Image=DIGEST, timeout=timeout)

    given = [one.timeout for one in served.plane.deployments]
    assert 19 < given[0] < 20
    assert given[1:] == [300.0, 0.1]


def test_a_deploy_that_goes_on_longer_has_succeeded(stub: Stub, served: Served) -> None:
    message = "hello was not ready within 1 s; revision 2 is deployed and is still starting"
    served.plane.steps = [StartTimeout(message)]

    assert stub("Deploy", Service="hello", Image=DIGEST).Msg == message


def test_a_client_that_disconnects_cancels_its_deploy(stub: Stub, served: Served) -> None:
    served.plane.steps = [Progress(ProgressKind.STARTED, step="endless")]
    codes = []
    call = partial(stub.error, "Deploy", Service="hello", Image=DIGEST, timeout=0.5)
    thread = threading.Thread(target=lambda: codes.append(call()[0]))
    thread.start()

    assert served.plane.reached.wait(PATIENCE)
    assert served.plane.closed.wait(PATIENCE)
    thread.join()
    assert codes == [Code.DEADLINE_EXCEEDED]


# Errors


def test_an_unknown_function_gets_similar_names(stub: Stub) -> None:
    told = (Code.NOT_FOUND, "there is no helo (did you mean hello?)")

    assert stub.error("GetMeta", FunctionName="helo") == told
    assert stub.error("GetLog", FunctionName="helo") == told
    assert stub.error("ReplicaUpdate", ServiceName="helo") == told


@pytest.mark.parametrize(
    ("method", "member"),
    [
        ("GetMeta", "FunctionName"),
        ("GetLog", "FunctionName"),
        ("Delete", "FunctionName"),
        ("ReplicaUpdate", "ServiceName"),
        ("Deploy", "Service"),
        ("Update", "Service"),
    ],
)
@pytest.mark.parametrize("name", ["", "../x", "Hello", "x" * 64, "a\0b"])
def test_an_invalid_name_is_rejected(stub: Stub, method: str, member: str, name: str) -> None:
    assert stub.error(method, **{member: name})[0] is Code.INVALID_ARGUMENT


def test_a_malformed_or_too_large_message_is_rejected(stub: Stub, served: Served) -> None:
    metadata = [("authorization", f"Bearer {served.tokens.management}")]
    code, message = failure(partial(stub.raw, "/pb.Gateway/Delete", b"\x0a\xff", metadata=metadata))
    assert (code, message) == (
        Code.INVALID_ARGUMENT,
        "the message is malformed: expected DeleteFunctionRequest",
    )
    large = stub.error("Update", Service="hello", RegistryAuth="x" * LARGEST)
    assert large[0] is Code.RESOURCE_EXHAUSTED
    assert set(served.plane.known) == {"hello", "thumb"}


def test_an_internal_error_shows_only_its_id_and_is_logged(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    code, message = stub.error(
        "GetMeta", FunctionName="defect", metadata=[("x-request-id", "abc-1")]
    )

    assert (code, message) == (
        Code.INTERNAL,
        "internal error; see the gateway's log of request abc-1",
    )
    [logged] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "abc-1" in logged.message
    assert logged.exc_info


def test_a_request_is_one_line_of_json_in_the_log(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dcf.controlplane")
    stub.error("GetMeta", FunctionName="nobody", metadata=[("x-request-id", "abc")])
    stub("HealthCheck")

    [line] = [json.loads(one.message) for one in caplog.records]
    assert line.pop("ms") >= 0
    assert line == {
        "method": "gRPC",
        "path": "/pb.Gateway/GetMeta",
        "status": 5,
        "request_id": "abc",
    }


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("/pb.Gateway/list", "unknown method /pb.Gateway/list (did you mean /pb.Gateway/List?)"),
        (
            "/pb.Gateway/Xyz",
            "unknown method /pb.Gateway/Xyz (did you mean a method of pb.Gateway?)",
        ),
        ("/other.Gateway/Delete", "(did you mean /pb.Gateway/Delete?)"),
        ("//pb.Gateway/List", "(did you mean /pb.Gateway/List?)"),
        ("/pb.Gateway/List/", "(did you mean /pb.Gateway/List?)"),
        ("/pb.Gateway//List", "(did you mean /pb.Gateway/List?)"),
        ("/pb.Gateway/%4Cist", "unknown method /pb.Gateway/%4Cist"),
        ("/pb.Gateway/Invoke", "Invoke is only available at the gateway's public address"),
    ],
)
def test_an_unknown_method_gets_a_suggestion(stub: Stub, method: str, told: str) -> None:
    code, message = failure(partial(stub.raw, method, b""))

    assert (code, told in message) == (Code.UNIMPLEMENTED, True), message


# Access


def test_every_method_has_an_access_level_and_few_are_open() -> None:
    assert RULES.keys() == METHODS.keys()
    assert sorted(name for name, rule in RULES.items() if rule is AccessLevel.KEY) == [
        "GetMeta",
        "HealthCheck",
        "Info",
        "Invoke",
        "Invokes",
        "List",
    ]
    assert AccessLevel.NOTHING not in RULES.values()


OPEN = ["GetMeta", "HealthCheck", "Info", "List"]
MANAGED = ["Delete", "Deploy", "GetLog", "ReplicaUpdate", "Update"]


@pytest.mark.parametrize("method", MANAGED)
def test_management_needs_the_management_token_on_every_gateway(
    served: Served, closed: Served, method: str
) -> None:
    key = served.tokens.issue("caller")
    try:
        for gateway in (served, closed):
            for token in ("", "wrong", key):
                code, message = Stub(gateway.channel, token).error(method)

                assert code is Code.UNAUTHENTICATED
                assert not token or token not in message.split()
            assert gateway.manager.error(method)[0] is Code.INVALID_ARGUMENT  # no name
    finally:
        served.tokens.revoke("caller")
    assert set(served.plane.known) == {"hello", "thumb"}


@pytest.mark.parametrize("method", [*OPEN, "Nothing"])
def test_open_methods_need_a_key_beyond_loopback(
    served: Served, closed: Served, method: str
) -> None:
    def code(gateway: Served, token: str) -> grpc.StatusCode:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        call = gateway.channel.unary_unary(f"/pb.Gateway/{method}")
        found: grpc.StatusCode = call.future(b"", timeout=PATIENCE, metadata=metadata).code()
        return found

    key = served.tokens.issue("caller")
    try:
        let_in = {code(served, token) for token in ("", "wrong", key)}
        assert Code.UNAUTHENTICATED not in let_in
        assert code(closed, "") is Code.UNAUTHENTICATED
        assert code(closed, "wrong") is Code.UNAUTHENTICATED
        assert {code(closed, key)} == let_in
    finally:
        served.tokens.revoke("caller")
    assert code(closed, key) is Code.UNAUTHENTICATED


def test_large_numbers_are_returned(stub: Stub, served: Served) -> None:
    served.plane.known = {"odd": status("odd", 1 << 40)}

    assert stub("List").Functions[0].Replicas == 1 << 40
