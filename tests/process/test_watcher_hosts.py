"""The Host of requests, where the watcher itself is open to browsers: ``function serve``."""

import contextlib
import json
import socket

import pytest

from process.websockets_client import Bare

HANDLER = """
def Handler(req):
    return req.input
"""


@pytest.fixture
def served(launch_shared):
    return launch_shared(HANDLER, function="f", hosts="box,dcf.example.com")


def answer(running, *lines: str, body: str = "") -> tuple[int, bytes]:
    """Status and body."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(10)
        client.connect(running.endpoint.removeprefix("unix:"))
        client.sendall("\r\n".join([*lines, "Connection: close", "", body]).encode())
        data = b""
        while more := client.recv(65536):
            data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), rest


WAYS = {
    "small": ["POST /function/f HTTP/1.1", "Content-Length: 1"],
    "in chunks": ["POST / HTTP/1.1", "Transfer-Encoding: chunked"],
    "old": ["POST / HTTP/1.0", "Content-Length: 1"],
    "asked first": ["POST / HTTP/1.1", "Content-Length: 1", "Expect: 100-continue"],
    "probe": ["GET /-/health HTTP/1.1"],
}


@pytest.mark.parametrize("way", WAYS)
def test_another_host_is_refused_whatever_way_a_request_takes(served, way):
    for host in ("evil.example", "evil.example:80", "localhost:x@evil.example", "127.0.0.1.evil"):
        sent = "1\r\nx\r\n0\r\n\r\n" if way == "in chunks" else "x"
        status, body = answer(served, *WAYS[way], f"Host: {host}", body=sent)
        problem = json.loads(body)
        assert (status, problem["error"]) == (421, "HostNotAllowed")
        assert "--allow-host" in problem["detail"]


@pytest.mark.parametrize("way", ["small", "probe"])
def test_a_host_that_is_allowed_passes(served, way):
    names = ("localhost", "LOCALHOST.:8080", "a.localhost:1", "127.0.0.1:8080", "[::1]", "box:80")
    for host in (*names, "DCF.example.com", ""):
        status, _ = answer(served, *WAYS[way], f"Host: {host}", body="x")
        assert status == 200, host
    assert answer(served, *WAYS[way], body="x")[0] == 200


def test_of_two_hosts_both_count(served):
    hosts = ["Host: localhost", "Host: evil.example"]
    for both in (hosts, hosts[::-1]):
        assert answer(served, *WAYS["small"], *both, body="x")[0] == 421


def test_a_websocket_with_another_host_is_refused(served, launch_shared):
    with Bare(served) as client:
        assert b" 421 " in client.upgrade()
    with Bare(launch_shared(HANDLER, function="f", queue=7)) as client:
        assert b" 101 " in client.upgrade()


def test_behind_a_gateway_every_host_passes(launch_shared):
    behind = launch_shared(HANDLER, function="f", queue=7)
    assert answer(behind, *WAYS["small"], "Host: evil.example", body="x") == (200, b"x")
