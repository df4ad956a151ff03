"""Calls without a ready replica, which a real Envoy holds until the test releases them."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcf.dataplane import activation_listener
from dcf.dataplane.ext_authz_server import CheckRequest, CheckResult, ExtAuthzServer
from dcf.dataplane.xds_server import LINGER, XdsServer
from dcf.rpc.xds_messages import CLUSTER
from process.plane import Plane, running

ECHO = """
    class Handler:
        def __call__(self, req):
            if req.path == "/headers":
                return {name: value for name, value in req.headers.items()}
            return req.input
"""
REFUSED = CheckResult(
    refusal=(503, '{"error":"Whatever"}'),
    reply={
        "content-type": "application/problem+json",
        "retry-after": "7",
        "server-timing": "hold;dur=1.5",
    },
)


class Gate:
    """Holds every call until it is opened."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._open = asyncio.Event()
        self.waiting = 0
        self.verdict = CheckResult(
            request={"x-dcf-held-ms": "12", "x-dcf-deadline-ms": "4000"},
            reply={"server-timing": "hold;dur=12.0"},
        )

    async def judge(self, _asked: CheckRequest) -> CheckResult:
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
        return self.verdict

    def open(self) -> None:
        async def let() -> None:
            self._open.set()

        self._plane.do(let())


@pytest.fixture
def plane(short_dir):
    with running(short_dir) as plane:
        yield plane


@pytest.fixture
def gate(plane: Plane) -> Gate:
    gate = Gate(plane)
    plane.judge = gate.judge
    return gate


@contextlib.contextmanager
def held(plane: Plane, gate: Gate, number: int, *arguments, **more):
    """Start calls that are held; return their replies."""
    with ThreadPoolExecutor(number) as pool:
        calls = [pool.submit(plane.call, *arguments, **more) for _ in range(number)]
        try:
            plane.until(lambda: gate.waiting == number)
            yield calls
        finally:
            gate.open()


def test_a_call_is_held_until_there_is_a_replica(plane, gate, launch):
    headers = {
        "x_request_id": "mine",
        "x_dcf_deadline_ms": "5000",
        "x_dcf_held_ms": "1",
        "authorization": "Bearer x",
    }
    with held(plane, gate, 1, "/function/echo/headers?a=b", b"hello", **headers) as [call]:
        [asked] = plane.asked
        assert asked.path == "/function/echo/headers?a=b"
        assert asked.headers == {
            "x-request-id": "mine",
            "x-dcf-deadline-ms": "5000",
            "x-envoy-attempt-count": "1",
        }
        assert abs(asked.since - time.time()) < 5
        plane.set("echo", launch(ECHO, function="echo").endpoint, revision=3)
    status, given, body = call.result()
    assert status == 200, body
    seen = json.loads(body)
    assert (seen["x-dcf-held-ms"], seen["x-dcf-deadline-ms"]) == ("12", "4000")
    assert not [name for name in seen if name.startswith("x-envoy") or name == "authorization"]
    assert given["x-request-id"] == "mine"
    assert not [name for name in given if name.startswith("x-envoy") or name == "server"]
    timing = given["server-timing"]
    assert "hold;dur=12.0" in timing
    assert "handler;" in timing
    assert timing.count("gateway;") == 1
    # The log has one line, with the function and the client.
    told = plane.call("/function/echo/headers", b"warm", x_dcf_held_ms="1")[2]
    assert "x-dcf-held-ms" not in json.loads(told), "a caller cannot say that it was held"
    lines = plane.access_log(2)
    first = {"function": "echo", "revision": "3", "request_id": "mine", "client": "127.0.0.1"}
    assert first.items() <= lines[0].items(), (lines, seen)
    assert lines[1]["request_id"] != "mine"
    assert len(plane.asked) == 1, "a warm call is not asked about"


def test_a_refusal_is_passed_to_the_caller_unchanged(plane, gate):
    gate.verdict = REFUSED
    gate.open()
    status, given, body = plane.call("/function/echo", b"x", x_request_id="mine")
    assert (status, body) == (503, b'{"error":"Whatever"}')
    assert (given["content-type"], given["retry-after"]) == ("application/problem+json", "7")
    assert given["x-request-id"] == "mine"
    assert "hold;dur=1.5" in given["server-timing"]
    [line] = plane.access_log(1)
    assert (line["status"], line["request_id"]) == (503, "mine")
    if shutil.which("curl"):
        url = f"http://127.0.0.1:{plane.port}/function/echo"
        command = ["curl", "-si", "--http2-prior-knowledge", "-d", "hello", url]
        reply = subprocess.run(command, capture_output=True, check=True).stdout
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/2 503")
        assert b"content-type: application/problem+json\r\n" in head
        assert b"retry-after: 7" in head
        assert body == b'{"error":"Whatever"}'


def test_a_call_through_the_private_socket_is_held(plane, gate, launch):
    plane.set("other", launch(ECHO, function="other").endpoint)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(plane.call_privately, "/function/echo")
        plane.until(lambda: gate.waiting == 1)
        plane.set("echo", launch(ECHO, function="echo").endpoint)
        gate.open()
        assert call.result()[0] == 200


def test_many_calls_are_held_at_the_same_time(plane, gate, launch):
    with held(plane, gate, 200, "/function/echo", b"hello") as calls:
        time.sleep(0.5)
        assert (gate.waiting, len(plane.asked)) == (200, 200), "each is asked about once"
        plane.set("echo", launch(ECHO, function="echo", queue=1000).endpoint)
    assert [call.result()[::2] for call in calls] == [(200, b"hello")] * 200


def test_a_large_body_waits_at_its_client(plane, gate, launch):
    body = b"x" * 100_000_000
    before = plane.memory()
    with held(plane, gate, 1, "/function/echo", body) as [call]:
        time.sleep(0.2)  # until the buffers are full
        assert plane.memory() - before < 20_000_000
        plane.set("echo", launch(ECHO, function="echo").endpoint)
    assert call.result()[2] == body
    assert plane.memory() - before < 60_000_000


def test_a_refused_large_body(plane, gate):
    gate.verdict = REFUSED
    gate.open()
    with contextlib.closing(plane.connection()) as connection:
        chunks = (b"x" * 100_000 for _ in range(100))
        with contextlib.suppress(ConnectionError):
            connection.request("POST", "/function/echo", chunks)
        assert connection.getresponse().status == 503


def test_websocket(plane, gate, short_dir):
    async def upstream(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        while (data := await reader.read(100)) != b"bye":
            writer.write(data.upper())
        writer.close()

    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as client:
        client.sendall(
            b"GET /function/chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
            b"connection: upgrade\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        plane.until(lambda: gate.waiting == 1)
        plane.set("chat", plane.serve(short_dir / "chat.sock", upstream))
        gate.open()
        assert client.recv(10_000).startswith(b"HTTP/1.1 101")
        for word in (b"one", b"two"):
            client.sendall(word)
            assert client.recv(100) == word.upper()
        client.sendall(b"bye")
        client.settimeout(0.8)  # Envoy's default is one second
        assert client.recv(100) == b""


def test_a_client_that_disconnects_ends_the_question(plane, gate):
    """Envoy notices it only while it reads, so not if its buffers are full."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as client:
        client.sendall(
            b"POST /function/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf"
        )
        plane.until(lambda: gate.waiting == 1)
    plane.until(lambda: gate.waiting == 0)
    assert len(plane.asked) == 1


def test_after_a_restart_the_control_plane_is_asked_again(plane, gate, launch):
    with held(plane, gate, 3, "/function/echo", b"hello") as calls:
        first = {asked.since for asked in plane.asked}
        plane.do(plane.checks.stop())
        plane.set("echo", launch(ECHO, function="echo").endpoint)
        plane.checks = ExtAuthzServer(plane._judge)
        plane.do(plane.checks.start(plane.sockets.hold))
        plane.until(lambda: gate.waiting == 3)
        assert {asked.since for asked in plane.asked[3:]} == first, "they are as old as they are"
    assert [call.result()[::2] for call in calls] == [(200, b"hello")] * 3


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_calls_to_a_replica_that_has_just_died_are_held(plane, gate, launch, short_dir, late):
    """Envoy is still sending calls to the replica when it gets the new route."""
    plane.restart_discovery(XdsServer(plane.sockets.cold))
    plane.set("echo", f"unix:{short_dir}/gone.sock")
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(plane.call, "/function/echo", b"hello") for _ in range(10)]
        time.sleep(0.02)  # Envoy is retrying them
        plane.remove("echo")
        plane.until(lambda: gate.waiting == 10)
        if late:
            time.sleep(LINGER + 0.1)
            assert "echo" not in plane.discovery._resources[CLUSTER]
        plane.set("echo", launch(ECHO, function="echo").endpoint)
        gate.open()
        assert [call.result()[::2] for call in calls] == [(200, b"hello")] * 10
    time.sleep(LINGER + 0.1)
    assert plane.call("/function/echo", b"still there")[0] == 200


def test_calls_to_a_replica_that_died_with_the_control_plane_are_held(
    plane, gate, launch, short_dir
):
    """The next control plane has never sent the function to Envoy."""
    plane.restart_discovery(XdsServer(plane.sockets.cold))
    plane.set("echo", f"unix:{short_dir}/gone.sock")
    plane.do(plane.discovery.stop())
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(plane.call, "/function/echo", b"hello") for _ in range(10)]
        time.sleep(0.5)  # the time of a restart
        plane.restart_discovery(XdsServer(plane.sockets.cold))
        plane.until(lambda: gate.waiting == 10)
        plane.set("echo", launch(ECHO, function="echo").endpoint)
        gate.open()
        assert [call.result()[::2] for call in calls] == [(200, b"hello")] * 10


def test_without_a_control_plane_a_held_call_ends_with_an_error(short_dir, monkeypatch):
    """Without any control plane, a held call ends with an error instead of hanging."""
    monkeypatch.setattr(activation_listener, "RETRIES", 4)
    with running(short_dir) as plane:
        plane.do(plane.checks.stop())
        problem = plane.problem("/function/echo", b"x")
        assert problem["detail"] == "the gateway's control plane does not answer"
        plane.serve_control()
        status, _, body = plane.call("/function/echo", b"x")
        assert (status, json.loads(body)) == (404, {"control": "/function/echo"})


async def _for_ever(_asked: CheckRequest) -> CheckResult:
    await asyncio.Event().wait()
    raise AssertionError


async def _mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(1000):
            pass
    writer.close()


@pytest.mark.parametrize("given", ["1000", "000001000"])
@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_the_deadline_of_a_held_call_holds_even_if_the_control_plane_hangs(plane, given, size):
    plane.judge = _for_ever
    began = time.monotonic()
    problem = plane.problem("/function/echo", b"x" * size, X_Dcf_Deadline_Ms=given)
    assert 1 <= time.monotonic() - began < 3
    assert (problem["status"], problem["error"]) == (504, "DeadlineExceeded")


def test_the_end_of_the_wait_stops_envoys_timer(plane, gate, launch):
    """Envoy's timer applies to the wait only: the watcher enforces the deadline of the reply."""
    source = """
        import time
        class Handler:
            def __call__(self, req):
                for _ in range(4):
                    yield "grpc-timeout" in req.headers and "told" or "."
                    time.sleep(0.5)
    """
    # Connect to the activation listener: the public one ends a call a second after its deadline.
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(plane.sockets.cold))
        client.sendall(
            b"POST /function/slow HTTP/1.1\r\nhost: x\r\nx-dcf-deadline-ms: 1000\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        plane.until(lambda: len(plane.asked) == 1)
        plane.set("slow", launch(source, function="slow").endpoint)
        gate.open()
        reply = b""
        while part := client.recv(65536):
            reply += part
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body.count(b".") == 4
    assert body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("given", ["0", "-1", "1e3", "", "x", "9" * 13, "1000m"])
def test_an_invalid_deadline_starts_no_timer(plane, gate, given):
    gate.verdict = REFUSED
    with held(plane, gate, 1, "/function/echo", b"x", x_dcf_deadline_ms=given) as [call]:
        if given == "0":
            assert call.result()[0] == 504
            return
        time.sleep(0.7)
    assert call.result()[0] == 503


def test_a_call_without_a_decision_is_refused_in_limited_time(short_dir, monkeypatch):
    monkeypatch.setattr(activation_listener, "RETRIES", 2)
    with running(short_dir) as plane:
        plane.do(plane.checks.stop())
        plane.serve(plane.sockets.control, _mute)
        began = time.monotonic()
        problem = plane.problem("/function/echo", b"x")
        assert time.monotonic() - began < 9
        assert (problem["status"], problem["error"]) == (503, "NotReady")
        assert problem["detail"] == "the gateway's control plane does not answer"


def test_management_requests_have_a_limit_in_envoy(short_dir):
    with running(short_dir, management=0.5) as plane:
        plane.serve(plane.sockets.control, _mute)
        for method, path in (
            ("GET", "/healthz"),
            ("GET", "/system/functions"),
            ("PUT", "/system/scale-function"),
            ("DELETE", "/system/function/f"),
            ("GET", "/nothing"),
        ):
            status, _, body = plane.call(path, b"", method)
            assert (status, json.loads(body)["error"]) == (504, "DeadlineExceeded"), path
        status, _, body = plane.call("/system/functions", b"{}", "POST", accept="application/jsonl")
        assert (status, json.loads(body)["error"]) == (504, "DeadlineExceeded")
        problem = plane.problem("/function/", b"x")
        assert problem["status"] == 503
        assert problem["detail"] == "the gateway's control plane does not answer"


def test_deploys_and_logs_have_no_time_limit(short_dir):
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.2)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    async def pinging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for _ in range(8):
            writer.write(b"{}\n")
            await writer.drain()
            await asyncio.sleep(0.2)
        writer.close()

    with running(short_dir, management=0.5) as plane:
        plane.serve(plane.sockets.control, slow)
        assert plane.call("/system/functions", method="POST")[::2] == (200, b"ok")
        assert plane.call("/system/function-log/f", method="GET")[::2] == (200, b"ok")
        assert plane.call("/system/uploads", method="POST")[::2] == (200, b"ok")
    with running(short_dir, management=0.5) as plane:
        plane.serve(plane.sockets.control, pinging)
        status, _, body = plane.call("/system/functions", method="POST", accept="application/jsonl")
        assert (status, body) == (200, b"{}\n" * 8)


def test_envoy_answers_liveness_probes_only_on_its_own_machine(plane):
    plane.serve_control()
    assert plane.call_privately("/-/alive") == (200, b"")
    assert plane.call("/-/alive", method="GET")[0] == 404
