"""The bridge's process: its log, kills, its shutdown, and requests as Envoy sends them."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import pytest

from dcf.bridge.grpc_call import FUNCTIONS
from process.conftest import launching
from process.plane import PATIENCE, Plane, running
from process.stub import Stub, connected, messages

Code = grpc.StatusCode

EACH = """
    def Handler(req):
        if req.input == b"raise":
            raise LookupError("nothing here")
        return req.input
"""


@pytest.fixture(scope="module")
def replica(folder, tmp_path_factory, _shared):
    with launching(tmp_path_factory.mktemp("replicas"), folder) as start:
        yield start(EACH, function="each")


@pytest.fixture(scope="module")
def gateway(folder, replica) -> Iterator[tuple[Plane, Stub]]:
    """A gateway without a bridge; each test starts its own."""
    with running(folder) as plane, connected(plane.port) as stub:
        plane.set("each", replica.endpoint)
        yield plane, stub


@pytest.fixture
def away(gateway) -> Iterator[tuple[Plane, Stub]]:
    """The gateway; after the test its bridge is stopped, if the test has started it."""
    yield gateway
    if hasattr(gateway[0], "bridge"):
        gateway[0].bridge.stop(0)


@pytest.fixture
def bridged(away) -> Plane:
    """The gateway with a running bridge."""
    plane: Plane = away[0]
    plane.start_bridge()
    return plane


def test_each_call_has_a_line_in_the_log(away):
    plane, stub = away
    plane.start_bridge()
    with stub.talk(metadata=[("x-request-id", "an-id")]) as talk:
        talk.send("each", b"a", b"b")
        talk.end()
        talk.rest()
    with stub.talk() as talk:
        talk.send("each", b"raise")
        talk.failure()
    good, bad = plane.bridge_log(2)
    assert good.pop("ms") > 0
    assert good == {
        "method": "gRPC",
        "path": "/pb.Gateway/Invokes",
        "function": "each",
        "status": 0,
        "received": 2,
        "sent": 2,
        "request_id": "an-id",
    }
    assert (bad["status"], bad["received"], bad["sent"]) == (13, 1, 0)


def test_streams_of_a_killed_bridge_end_and_new_streams_wait_for_the_next_bridge(away):
    plane, stub = away
    first = plane.start_bridge()
    with stub.talk() as talk, stub.talk() as silent:
        talk.send("each", b"a")
        talk.receive()
        silent.send("each")
        time.sleep(0.1)
        os.kill(first.pid, signal.SIGKILL)
        # After a reply has begun, Envoy can only reset the stream.
        assert talk.failure()[0] in {Code.UNAVAILABLE, Code.INTERNAL}
        assert silent.failure()[0] is Code.UNAVAILABLE
    # The kernel may close its listening socket last. Until then it accepts connections.
    first.stop(0)
    assert stub("Invoke", Service="each", Input=b"x").Msg == "x"
    with stub.talk() as talk:
        talk.send("each", b"a")
        plane.start_bridge()
        assert talk.receive() == b"a"


def test_a_stream_without_a_bridge_is_rejected(away):
    _, stub = away
    with stub.talk() as talk:
        talk.send("each", b"a")
        assert talk.failure() == (Code.UNAVAILABLE, "no connection to Bridge")


def test_a_bridge_that_shuts_down_lets_streams_finish(away):
    plane, stub = away
    bridge = plane.start_bridge()
    with stub.talk() as talk:
        talk.send("each", b"a")
        talk.receive()
        bridge.terminate()
        time.sleep(0.1)
        talk.send("each", b"b")
        assert talk.receive() == b"b"
        talk.end()
        assert talk.rest() == []
    ended = bridge.wait(PATIENCE)
    assert ended is not None
    assert ended.code == 0


@pytest.mark.parametrize("orphaned", [True, False])
def test_streams_that_do_not_finish_get_a_status(away, orphaned):
    plane, stub = away
    bridge = plane.start_bridge(drain=PATIENCE if orphaned else 0.1)
    with stub.talk() as talk:
        talk.send("each", b"a")
        talk.receive()
        if orphaned:
            stdin = bridge._process.stdin
            assert stdin is not None
            stdin.close()
        else:
            bridge.terminate()
        assert talk.failure() == (Code.UNAVAILABLE, "the gateway is shutting down")
    ended = bridge.wait(PATIENCE)
    assert ended is not None
    assert ended.code == 0


def test_a_stream_to_a_gateway_with_keys_needs_a_key(short_dir, replica):
    with running(short_dir, open=False) as plane, connected(plane.port) as stub:
        plane.set("each", replica.endpoint)
        plane.start_bridge()
        with stub.talk() as talk:
            talk.send("each", b"a")
            code, message = talk.failure()
    assert code is Code.UNAUTHENTICATED
    assert message == "a key that is in force is wanted here: Authorization: Bearer KEY"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DCF_BRIDGE_DRAIN": "soon"}, "DCF_BRIDGE_DRAIN"),
        ({"DCF_BRIDGE_LISTEN": "/no/such/folder/bridge.sock"}, "cannot listen on /no/such/folder"),
        ({"DCF_BRIDGE_LISTEN": "alive"}, "AF_UNIX path too long"),
    ],
    ids=["number", "folder", "alive"],
)
def test_a_bad_setting_ends_the_bridge_without_a_traceback(short_dir, settings, message):
    if settings == {"DCF_BRIDGE_LISTEN": "alive"}:
        # Its own path is as long as a socket's path may be; that of its liveness socket is longer.
        room = 107 - len(os.fsencode(short_dir)) - len("/.sock")
        settings = {"DCF_BRIDGE_LISTEN": str(short_dir / f"{'b' * room}.sock")}
    done = subprocess.run(
        [sys.executable, "-m", "dcf.bridge"],
        env={**os.environ, **settings},
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the bridge ends: " in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# Requests as Envoy sends them


@contextlib.contextmanager
def directly(plane: Plane) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE)
    connection.sock.connect(str(plane.sockets.bridge))
    with contextlib.closing(connection):
        yield connection


def test_the_bridge_enforces_the_deadline(bridged):
    with directly(bridged) as connection:
        connection.putrequest("POST", "/pb.Gateway/Invokes")
        connection.putheader("grpc-timeout", "100m")
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders()
        reply = connection.getresponse()
        assert reply.getheader("grpc-status") == "4"
        assert reply.getheader("grpc-message") == "the call exceeded its deadline of 0.1 s"


def test_an_incomplete_message_is_rejected(bridged):
    with directly(bridged) as connection:
        for _ in range(2):  # on the same connection
            connection.request("POST", "/pb.Gateway/Invokes", b"\0\0\0\0\x09abc")
            reply = connection.getresponse()
            assert (reply.status, reply.getheader("grpc-status")) == (200, "3")
            assert reply.read() == b""


def test_too_many_functions_in_a_call_are_rejected(bridged):
    requests = [messages()["InvokeServiceRequest"](Service=f"f{n}") for n in range(FUNCTIONS + 1)]
    messages_ = [request.SerializeToString() for request in requests]
    body = b"".join(b"\0" + len(data).to_bytes(4, "big") + data for data in messages_)
    with directly(bridged) as connection:
        connection.request("POST", "/pb.Gateway/Invokes", body)
        reply = connection.getresponse()
        assert reply.getheader("grpc-status") == "3"
        message = f"expected at most {FUNCTIONS} functions in a call, got more"
        assert reply.getheader("grpc-message") == message


def test_invalid_http_closes_the_connection(bridged):
    with directly(bridged) as connection:
        connection.sock.sendall(b"nonsense\r\n\r\n")
        assert connection.sock.recv(1) == b""
