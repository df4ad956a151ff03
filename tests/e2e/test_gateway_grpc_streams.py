"""Invokes of pb.Gateway as its user has it: what goes wrong beforehand, and cold starts."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from e2e.gateway_process import GatewayProcess, running
from process.stub import Stub, connected

ECHO = """
def Handler(req):
    return req.input
"""

BROKEN = """
class Handler:
    def __init__(self):
        raise ValueError("no such model")

    def __call__(self, req):
        return b""
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("echo", ECHO))
        yield house


@pytest.fixture(scope="module")
def stub(house: GatewayProcess) -> Iterator[Stub]:
    with connected(house.port) as stub:
        yield stub


def test_a_name_that_resembles_another(stub: Stub) -> None:
    with stub.talk() as talk:
        talk.send("eccho", b"x")
        code, message = talk.failure()
    assert code is grpc.StatusCode.NOT_FOUND
    assert "eccho" in message
    assert message.endswith("(did you mean echo?)")


def test_a_function_that_cannot_start(house: GatewayProcess, stub: Stub) -> None:
    house.dcf("function", "deploy", f"{house.write('broken', BROKEN)}/")
    with stub.talk() as talk:
        talk.send("broken", b"x")
        code, message = talk.failure()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "ValueError: no such model" in message


def test_a_stream_waits_for_the_first_replica(house: GatewayProcess, stub: Stub) -> None:
    house.deploy(house.write("slow", f"import time\ntime.sleep(0.5)\n{ECHO}"), "--no-wait")
    with stub.talk() as talk:
        talk.send("slow", b"a", b"b")
        talk.end()
        assert talk.rest() == [b"a", b"b"]
