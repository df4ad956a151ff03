"""Calls through a real Envoy to real watchers."""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from dcf.dataplane import bootstrap, envoy, statistics
from dcf.errors import EnvoyFailed
from dcf.settings import DataplaneSettings
from process.plane import Plane, running

ECHO = """
    import os, time
    class Handler:
        def __call__(self, req):
            if req.query:
                time.sleep(float(req.query['wait']))
            if req.path == "/headers":
                return {name: value for name, value in req.headers.items()}
            if req.path == "/end":
                os._exit(3)
            return req.input
"""


@pytest.fixture
def plane(short_dir):
    with running(short_dir) as plane:
        yield plane


@pytest.fixture
def echo(plane: Plane, launch) -> Plane:
    plane.set("echo", launch(ECHO, function="echo").endpoint, revision=7)
    return plane


def test_a_call_and_its_line_in_the_log(echo):
    status, headers, body = echo.call("/function/echo/a/b?wait=0", b"hello", x_request_id="my-own")
    assert (status, body) == (200, b"hello")
    assert headers["x-request-id"] == "my-own"
    assert "handler" in headers["server-timing"]
    assert not [name for name in headers if name.startswith("x-envoy") or name == "server"]
    [line] = echo.access_log(1)
    expected = {"function": "echo", "revision": "7", "status": 200, "request_id": "my-own"}
    assert expected.items() <= line.items()
    assert line["path"] == "/function/echo/a/b"
    assert line["ms"] >= 0


def gateway_time(headers: dict[str, str]) -> float:
    """Return the milliseconds that the gateway reports for a call."""
    [told] = re.findall(r"gateway;dur=([0-9.e-]+)", headers["server-timing"])
    return float(told)


def test_every_reply_has_its_duration(echo, short_dir):
    headers = echo.call("/function/echo?wait=0.05", b"hello")[1]
    assert 50 <= gateway_time(headers) < 5000
    assert headers["server-timing"].startswith("queue;")
    echo.set("gone", f"unix:{short_dir}/gone.sock")
    echo.set("idle")
    for path in ("/function/gone", "/function/idle", "/system/info", "/function/echo/end"):
        code, headers, _ = echo.call(path)
        assert code in {502, 503}
        assert 0 <= gateway_time(headers) < 5000
        assert len(headers["x-request-id"]) == 36


def test_a_request_id_is_generated(echo):
    assert len(echo.call("/function/echo")[1]["x-request-id"]) == 36


USABLE = ["a", "my-own", "x" * 128, 'a"quote"\\{}', "a,b"]
UNUSABLE = [
    "two words",
    "x" * 129,
    "x" * 9000,
    "caf\xe9",
    "caf\u00c3\u00a9",
    "\xff\xfe",
    "a\tb",
    "",
]


@pytest.mark.parametrize("given", [*USABLE, *UNUSABLE])
def test_a_call_has_the_same_id_everywhere(echo, given):
    """In the reply, in the handler and in the log, also for held and rejected calls."""
    known = set()
    for path in ("/function/echo/headers?wait=0", "/function/nobody", "/system/info"):
        status, headers, body = echo.call(path, x_request_id=given)
        told = json.loads(body).get("x-request-id" if status == 200 else "request_id")
        assert headers["x-request-id"] == told
        assert (told == given) if given in USABLE else len(told) == 36
        known.add(told)
    assert {line["request_id"] for line in echo.access_log(3)} == known
    [asked] = echo.asked
    assert asked.headers["x-request-id"] in known


@pytest.mark.skipif(not shutil.which("curl"), reason="curl speaks HTTP/2 here")
def test_http2_without_tls(echo):
    url = f"http://127.0.0.1:{echo.port}/function/echo"
    command = [
        "curl",
        "-s",
        "--http2-prior-knowledge",
        "-d",
        "hello",
        "-w",
        " %{http_version}",
        url,
    ]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"hello 2"


def test_http_1_0(echo):
    with socket.create_connection(("127.0.0.1", echo.port), timeout=5) as client:
        client.sendall(b"POST /function/echo HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello")
        reply = b"".join(iter(lambda: client.recv(10_000), b""))
    assert reply.endswith(b"\r\n\r\nhello")


@pytest.fixture
def pair(short_dir) -> tuple[Path, Path]:
    """A certificate and its key."""
    return make_pair(short_dir, "one")


def make_pair(folder: Path, name: str) -> tuple[Path, Path]:
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    certificate, key = folder / f"{name}-certificate.pem", folder / f"{name}-key.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return certificate, key


def test_tls(short_dir, launch, pair):
    certificate, key = pair
    with running(short_dir, certificate=str(certificate), key=str(key)) as plane:
        plane.set("echo", launch(ECHO, function="echo").endpoint)
        trust = ssl.create_default_context(cafile=certificate)
        trust.check_hostname = False
        url = f"https://127.0.0.1:{plane.port}/function/echo"
        with urllib.request.urlopen(url, b"hello", context=trust) as response:
            assert response.read() == b"hello"
        trust.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", plane.port)) as plain,
            trust.wrap_socket(plain) as wrapped,
        ):
            assert wrapped.selected_alpn_protocol() == "h2"
        if shutil.which("curl"):
            for protocol in ("1.1", "2"):
                command = f"curl -sk --http{protocol} -d hello -w %{{http_version}} {url}"
                done = subprocess.run(command.split(), capture_output=True, check=True)
                assert done.stdout.decode() == "hello" + protocol


def test_an_invalid_certificate_is_reported_before_anything_starts(short_dir, pair):
    certificate, key = pair
    other = make_pair(short_dir, "other")[1]
    empty = short_dir / "empty.pem"
    empty.touch()
    config, sockets = short_dir / "envoy.json", bootstrap.Sockets.under(short_dir)
    for pem, private, reason in (
        (short_dir / "none.pem", key, "none.pem"),
        (certificate, empty, "empty.pem"),
        (empty, key, "empty.pem"),
        (certificate, other, "(?i)key"),
        (key, key, "(?i)certificate"),
    ):
        settings = DataplaneSettings(certificate=str(pem), key=str(private))
        bootstrap.write(config, settings, sockets)
        with pytest.raises(EnvoyFailed, match=reason):
            envoy.validate(envoy.find(), config)
    bootstrap.write(config, DataplaneSettings(certificate=str(certificate), key=str(key)), sockets)
    envoy.validate(envoy.find(), config)


def test_websocket(plane, short_dir):
    async def upstream(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head.lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        while (data := await reader.read(100)) != b"bye":
            writer.write(data.upper())
        writer.close()

    plane.set("chat", plane.serve(short_dir / "chat.sock", upstream))
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as client:
        client.sendall(
            b"GET /function/chat HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
            b"connection: upgrade\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        head = client.recv(10_000)
        assert head.startswith(b"HTTP/1.1 101")
        for word in (b"one", b"two"):
            client.sendall(word)
            assert client.recv(100) == word.upper()
        client.sendall(b"bye")
        client.settimeout(0.8)  # Envoy's default is one second
        assert client.recv(100) == b""


@pytest.mark.parametrize(
    "path", ["/function/ech", "/function/Discovery", "/function/", "/system/list", "/", "/healthz"]
)
def test_requests_that_are_not_calls_go_to_the_control_plane(plane, path):
    plane.serve_control()
    status, _, body = plane.call(path)
    assert (status, json.loads(body)) == (404, {"control": path})


def test_without_a_control_plane(plane):
    problem = plane.problem("/system/list")
    assert (problem["status"], problem["error"]) == (503, "NotReady")
    assert problem["detail"] == "no connection to Control-plane"


def test_no_header_changes_the_route(echo, short_dir):
    echo.serve_control()
    spoofed = {
        "x_envoy_original_path": "/function/other",
        "x_envoy_upstream_rq_timeout_ms": "1",
        "x_envoy_retry_on": "5xx",
        "x_envoy_decorator_operation": "x",
        "x_dcf_function": "other",
    }
    status, _, body = echo.call("/function/echo/headers?wait=0.05", b"", **spoofed)
    assert status == 200, body
    seen = json.loads(body)
    assert not [name for name in seen if name.startswith("x-envoy")]
    assert echo.call("/system/../function/echo", b"in")[0] == 400
    assert echo.call("/function/echo/../../system/x")[0] == 400


def test_a_path_reaches_the_function_that_it_names_or_none(echo, short_dir):
    """Send a raw request, without the changes that a usual client makes."""
    echo.serve_control()
    echo.set("other", f"unix:{short_dir}/nobody.sock")
    own, unknown, bad = b" 200 ", b" 404 ", b" 400 "
    for path, expected in {
        "/function/echo/sub/path?x=/../function/other&wait=0": own,
        "http://elsewhere/function/echo?wait=0": own,
        "/function/%65cho?wait=0": unknown,
        "/function/other/../echo?wait=0": bad,
        "/function/other/%2e%2e/echo?wait=0": bad,
        "/function/./echo?wait=0": bad,
        "/function/echo/../../../../etc/passwd": bad,
        "/function//echo": unknown,
        "//function/echo": unknown,
        "/function/echo%2f..%2fother": unknown,
        "/function/..%2fother": unknown,
        "/function/echo;x": unknown,
        "/function/Echo": unknown,
        "/function/echo%00": bad,
        "/function/echo\0": bad,
        "/function/echo#x": bad,
    }.items():
        with socket.create_connection(("127.0.0.1", echo.port), timeout=5) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            reply = client.recv(10_000)
        assert expected in reply.partition(b"\r\n")[0], (path, reply)


def test_no_replica(plane):
    plane.set("idle")
    status, headers, _ = plane.call("/function/idle")
    assert (status, headers["retry-after"]) == (503, "1")
    assert plane.problem("/function/idle")["detail"] == "idle has no ready replica"


def test_an_absent_replica_is_skipped(plane, launch, short_dir):
    alive = launch(ECHO, function="echo").endpoint
    plane.set("echo", alive, f"unix:{short_dir}/gone.sock")
    assert {plane.call("/function/echo", b"x")[0] for _ in range(20)} == {200}
    plane.set("echo", f"unix:{short_dir}/gone.sock")
    assert plane.problem("/function/echo")["error"] == "NotReady"


def two_replicas(plane: Plane, launch, folder: Path) -> None:
    """Start two replicas that record the calls of both."""
    tables = [str(folder / f"calls/{number}") for number in range(2)]
    watchers = [launch(ECHO, function="echo", call_table=table) for table in tables]
    plane.set("echo", *(watcher.endpoint for watcher in watchers), revision=7)


def test_a_call_that_had_begun_does_not_begin_again(plane, launch, short_dir):
    two_replicas(plane, launch, short_dir)
    status, headers, body = plane.call("/function/echo/end")
    assert (status, json.loads(body)["error"]) == (502, "ReplicaLost")
    assert headers["x-dcf-begun"] == "true"
    assert plane.access_log(1)[0]["attempts"] == 2
    assert plane.call("/function/echo", b"x")[2] == b"x"


def test_a_body_over_the_limit(plane, launch):
    plane.set("echo", launch(ECHO, function="echo").endpoint, max_body=1_000_000)
    assert plane.call("/function/echo", b"x" * 1_000_000)[0] == 200
    problem = plane.problem("/function/echo", b"x" * 1_000_001)
    assert (problem["status"], problem["error"]) == (413, "BodyTooLarge")
    with contextlib.closing(plane.connection()) as connection:
        chunks = (b"x" * 100_000 for _ in range(30))
        with contextlib.suppress(ConnectionError):
            connection.request("POST", "/function/echo", chunks)
        assert connection.getresponse().status == 413


def test_a_large_body_goes_through(echo):
    body = b"x" * 20_000_000
    assert echo.call("/function/echo", body)[2] == body


def test_headers_over_the_limit(echo):
    status, headers, body = echo.call("/function/echo", x_much="x" * 70_000)
    assert (status, headers["content-type"]) == (431, "application/problem+json")
    assert json.loads(body)["error"] == "BadRequest"


def test_headers_that_never_end(short_dir):
    with running(short_dir, headers_timeout=0.3) as plane:
        with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as client:
            client.sendall(b"POST /function/echo HTTP/1.1\r\nhost: x\r\nx-slow: ")
            reply = client.recv(10_000)
        assert reply.startswith(b"HTTP/1.1 408")
        assert b"BadRequest" in reply


def test_a_body_that_stalls_ends_at_the_deadline_and_leaves_nothing(plane, launch):
    plane.set("echo", launch(ECHO, function="echo", timeout=0.3, concurrency=1).endpoint)
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as client:
        client.sendall(
            b"POST /function/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf"
        )
        assert client.recv(10_000).startswith(b"HTTP/1.1 504")
        assert plane.call("/function/echo", b"next")[2] == b"next"
    plane.until(lambda: statistics.fetch(plane.sockets.admin, 2)["echo"].in_flight == 0)


def test_calls_over_the_limit(plane, launch):
    plane.set("echo", launch(ECHO, function="echo").endpoint, calls=1, queue=1)
    slow = [threading.Thread(target=plane.call, args=("/function/echo?wait=0.3",)) for _ in "ab"]
    for thread in slow:
        thread.start()
        time.sleep(0.1)
    problem = plane.problem("/function/echo")
    for thread in slow:
        thread.join()
    assert (problem["status"], problem["error"]) == (503, "Overloaded")


def test_calls_are_counted(plane, launch, short_dir):
    echo = plane
    two_replicas(echo, launch, short_dir)
    for _ in range(3):
        echo.call("/function/echo", b"x")
    echo.call("/function/echo/end")
    echo.set("idle")
    echo.call("/function/idle")
    echo.until(lambda: statistics.fetch(echo.sockets.admin, 2)["echo"].latency.count >= 3)
    traffic = statistics.fetch(echo.sockets.admin, 2)
    assert (traffic["echo"].calls, traffic["echo"].succeeded) == (4, 3)
    assert (traffic["echo"].attempts, traffic["echo"].server_errors) == (5, 1)
    assert (traffic["echo"].broken, traffic["echo"].in_flight) == (1, 0)
    assert traffic["idle"].no_replica == 1
    assert set(traffic) == {"echo", "idle"}


def test_everything_private_is_private(plane):
    sockets = plane.sockets
    for path in (sockets.admin, sockets.discovery, sockets.calls, plane.folder / "envoy.json"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_configuration_is_validated(tmp_path):
    config, sockets = tmp_path / "envoy.json", bootstrap.Sockets.under(tmp_path)
    bootstrap.write(config, DataplaneSettings(host="::1"), sockets)
    envoy.validate(envoy.find(), config)
    bootstrap.write(config, DataplaneSettings(host="no address"), sockets)
    with pytest.raises(EnvoyFailed, match="no address"):
        envoy.validate(envoy.find(), config)
