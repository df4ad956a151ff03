"""Requests over gRPC that are not one whole message: each is answered, and soon."""

import struct
import time

import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.auth import Authorizer
from dcf.controlplane.grpc.server import GrpcServer
from dcf.controlplane.tokens import Tokens
from dcf.dataplane.grpc import LARGEST
from process.http2 import GRPC, Http2
from process.plane import running
from unit.controlplane.grpc_kit import Plane as ControlPlane

PATIENCE = 2
INVALID, TOO_LARGE, UNIMPLEMENTED, INTERNAL, DEADLINE = "3", "8", "12", "13", "4"
REQUESTS = {"HealthCheck": b"", "Invoke": b"\x0a\x03kit\x12\x02hi"}


def message(data: bytes, flag: int = 0) -> bytes:
    return struct.pack("!BI", flag, len(data)) + data


@pytest.fixture(scope="module")
def plane(folder, launch_shared, _shared):
    kit = launch_shared("def Handler(req):\n    return req.input\n", function="kit")
    with running(folder, message_timeout=1) as plane, Catalog(None) as catalog:
        plane.set("kit", kit.endpoint)
        plane.start_bridge(idle=1)
        door = Authorizer(Tokens(b"s" * 32, catalog.keys), is_open=True)

        async def serve() -> GrpcServer:
            server = GrpcServer(ControlPlane(), door, plane.sockets.grpc, 1.0)
            await server.start()
            return server

        server = plane.do(serve())
        yield plane
        plane.do(server.stop())


def ask(plane, method: str, data: bytes, *, end: bool) -> str | None:
    """The status that Envoy has logged of the reply; None is OK."""
    with Http2(plane.port) as client:
        began = time.monotonic()
        stream = client.begin(f"/pb.Gateway/{method}", GRPC, end=end and not data)
        client.send(stream, data, end=end)
        client.until(lambda: stream in client.ended or stream in client.resets)
        assert time.monotonic() - began < PATIENCE + 1
    line = plane.access_log(1)[0]
    assert line["path"] in {f"/pb.Gateway/{method}", "/function/kit"}
    status: str | None = line["grpc"]
    return status


@pytest.mark.parametrize("method", REQUESTS)
def test_what_is_not_one_whole_message_is_refused(plane, method):
    whole = message(REQUESTS[method])
    assert ask(plane, method, whole, end=True) is None
    for data in (b"", whole * 2, b"\0\0\0\0\x09a", b"\0\0", message(b"\xff" * 20)):
        assert ask(plane, method, data, end=True) == INVALID, data


@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_that_never_ends_is_given_up(plane, method):
    whole = message(REQUESTS[method])
    for data in (b"", whole, whole[:3], b"\0\0\0\0\x09a"):
        assert ask(plane, method, data, end=False) == INVALID, data


def test_compressed_and_too_large_messages_are_refused(plane):
    assert ask(plane, "Invoke", message(REQUESTS["Invoke"], 1), end=True) == UNIMPLEMENTED
    assert ask(plane, "HealthCheck", message(b"x", 1), end=True) == INTERNAL  # grpcio's own
    for method in REQUESTS:
        assert ask(plane, method, message(bytes(LARGEST + 2**20)), end=True) == TOO_LARGE


def test_a_method_that_there_is_not_is_told_so(plane):
    for data in (b"", message(b"x"), b"\0\0"):
        for end in (True, False):
            assert ask(plane, "Helthcheck", data, end=end) == UNIMPLEMENTED


def test_what_is_no_grpc_is_answered_as_http(plane):
    with Http2(plane.port) as client:
        headers = GRPC | {"content-type": "application/json"}
        stream = client.begin("/pb.Gateway/HealthCheck", headers, end=True)
        client.until(lambda: stream in client.ended)
    line = plane.access_log(1)[0]
    assert (line["function"], line["status"]) == ("Control-plane", 503)  # there is none here


def test_a_stream_that_names_no_function_is_given_up(plane):
    for data in (b"", b"\0\0"):
        assert ask(plane, "Invokes", data, end=False) == DEADLINE
