"""The first checks of a request, in a real Envoy."""

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dcf.dataplane.ext_authz_server import CheckResult
from dcf.protocol import http as names
from process.plane import Plane, running

PATIENCE = 10
LONG = ".".join(["a" * 60] * 4)
"""About as long as a name can be."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Replies to each request with its head."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"^content-length: (\d+)\r$", head, re.MULTILINE)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(head), head))
            await writer.drain()
    writer.close()


def serving(folder: Path, **settings) -> Iterator[Plane]:
    with running(folder, **settings) as plane:
        plane.serve(plane.sockets.control, echo)
        plane.set("f", plane.serve(folder / "f.sock", echo))
        yield plane


@pytest.fixture(scope="module")
def plane(folder, _shared) -> Iterator[Plane]:
    names = ("box", "dcf.example.com", "*.apps.example.com", LONG, f"*.{LONG}")
    yield from serving(folder, allowed_hosts=",".join(names))


def ask(plane: Plane, target: str, *headers: str, host: str | None = "localhost") -> bytes:
    """Send a raw GET request; return the whole reply."""
    lines = [f"GET {target} HTTP/1.1", *headers]
    if host is not None:
        lines.insert(1, f"Host: {host}")
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return read_answer(client)


def read_answer(client: socket.socket) -> bytes:
    with client.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = re.search(rb"^content-length: (\d+)\r$", head, re.MULTILINE)
        assert length, head
        return head + b"\r\n" + stream.read(int(length[1]))


def status(answer: bytes) -> int:
    return int(answer.split(None, 2)[1])


# Internal headers

ENVOY = (
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-force-trace",
    "x-envoy-decorator-operation",
    "x-envoy-original-path",
    "x-envoy-original-host",
    "x-envoy-internal",
    "x-envoy-external-address",
    "x-envoy-ip-tags",
    "x-client-trace-id",
)


@pytest.mark.parametrize("name", [*names.INTERNAL_HEADERS, *ENVOY])
def test_internal_headers_of_a_client_are_removed(plane, name):
    for path in ("/function/f", "/system/functions"):
        answer = ask(plane, path, f"{name.title()}: 1", f"{name}: 2")
        assert status(answer) == 200
        assert name not in answer.decode().lower()


def test_a_client_cannot_set_the_number_of_attempts(plane):
    answer = ask(plane, "/function/f", "x-envoy-attempt-count: 7").decode().lower()
    assert "x-envoy-attempt-count: 1" in answer
    assert "x-envoy-attempt-count: 7" not in answer


def test_other_headers_of_a_client_reach_the_handler(plane):
    own = (
        "x-dcf-deadline-ms: 5000",
        "traceparent: 00-1",
        "x-forwarded-host: front",
        "x-dcf-own: 1",
    )
    answer = ask(plane, "/function/f", *own).decode()
    assert all(line in answer for line in own)


@pytest.fixture
def fresh(short_dir) -> Iterator[Plane]:
    yield from serving(short_dir, cors="*", allowed_hosts="")


def test_every_request_is_logged_regardless_of_its_headers(fresh):
    every = [f"{name}: x" for name in (*names.INTERNAL_HEADERS, *ENVOY)]
    many = [f"x-many-{number}: x" for number in range(97)]
    sent = ("/function/f", "/function/none", "/system/functions", "/function/f/../x")
    for path in sent:
        for headers in (every, many, ["Origin: http://a", "Upgrade: websocket"]):
            ask(fresh, path, *headers)
        ask(fresh, path, host="evil.example")
    lines = fresh.access_log(16)
    assert sorted(line["path"] for line in lines) == sorted(sent * 4)
    assert {line["client"] for line in lines} == {"127.0.0.1"}


def test_a_held_call_is_logged_once_with_its_client(fresh):
    async def refuse(_asked) -> CheckResult:
        return CheckResult(refusal=(404, "{}"), reply={"content-type": "application/json"})

    fresh.judge = refuse
    assert status(ask(fresh, "/function/none", "x-dcf-client: 203.0.113.9")) == 404
    assert status(ask(fresh, "/function/f")) == 200
    lines = fresh.access_log(2)
    assert [(line["path"], line["client"]) for line in lines] == [
        ("/function/none", "127.0.0.1"),
        ("/function/f", "127.0.0.1"),
    ]


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/function/../system/functions",
        "/function/f/../../system/functions",
        "/function/f/..",
        "/function/f/.",
        "/./system/functions",
        "/function/%2e%2e/system/functions",
        "/function/.%2E/system/functions",
        "/function/%2E./system/functions",
        "/function/f/%2e/x",
        "/function\\f",
        "/function/f/..\\..\\system",
        "/healthz/../system/functions",
        "/function/f/../x?a=/b",
        "/function/f/a%00b",
        "/system%00/functions",
    ],
)
def test_an_ambiguous_path_is_rejected(plane, path):
    answer = ask(plane, path)
    assert status(answer) == 400
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (problem["error"], problem["status"]) == ("BadRequest", 400)
    assert "'.' and '..'" in problem["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/function/f/a%2Fb",
        "/function/f/a%2f..%2fb",
        "/function/f//a//b",
        "/function/f/%61;x=1",
        "/function/f/...",
        "/function/f/.well-known/x",
        "/function/f/a..b/..c",
        "/function/f/%2e%2e%2e",
        "/function/f/a%5Cb%0A",
        "/function/f?q=/../x\\y",
        # The control plane decides about these.
        "/system%2ffunctions",
        "/%73ystem/functions",
        "//system/functions",
    ],
)
def test_every_other_path_is_forwarded_unchanged(plane, path):
    answer = ask(plane, path).decode()
    assert answer.partition("\r\n\r\n")[2].startswith(f"GET {path} HTTP/1.1\r\n")


# Host

GOOD = [
    LONG,
    f"x.{LONG}",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "app.localhost",
    "a.b.localhost.",
    "127.0.0.1",
    "127.1.2.3",
    "192.168.0.7",
    "[::1]",
    "[2001:DB8::7]",
    "[::ffff:127.0.0.1]",
    "",
    "box",
    "Box",
    "dcf.example.com",
    "DCF.Example.COM.",
    "x.apps.example.com",
    "y.x.apps.example.com",
]
BAD = [
    "evil.example",
    "localhost.evil.example",
    "localhost-evil.example",
    "evillocalhost",
    ".localhost",
    "a..localhost",
    "127.0.0.1.evil.example",
    "127.0.0.1.5",
    "127.0.0",
    "256.0.0.1",
    "127.0.0.1evil.example",
    "localhost:x@evil.example",
    "localhost@evil.example",
    "user:pass@localhost",
    "evil.example:80@localhost",
    "localhost,evil.example",
    "[::1].evil.example",
    "[evil.example]",
    "::1",
    "apps.example.com",
    "evilapps.example.com",
    "sub.dcf.example.com",
    "dcf.example.com.evil.example",
    "boxer",
]


def hosts(plane: Plane, names: list[str]) -> Iterator[str]:
    for name in names:
        yield name
        if name and "@" not in name and name != "::1":
            yield f"{name}:{plane.port}"
            yield f"{name}:8000"


def test_an_allowed_host_is_accepted(plane):
    for host in hosts(plane, GOOD):
        for path in ("/function/f", "/system/functions"):
            assert status(ask(plane, path, host=host)) == 200, host


def test_any_other_host_is_rejected(plane):
    for host in hosts(plane, BAD):
        answer = ask(plane, "/function/f", host=host)
        assert status(answer) == 421, host
    for path in ("/system/functions", "/function/none", "/healthz", "/function/../x"):
        assert status(ask(plane, path, host=host)) == 421
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (problem["error"], problem["status"]) == ("HostNotAllowed", 421)
    assert "--allow-host" in problem["detail"]
    assert "DCF_ALLOWED_HOSTS" in problem["detail"]
    assert host in problem["detail"]


def test_two_hosts_are_rejected(plane):
    answer = ask(plane, "/function/f", "Host: evil.example")
    assert status(answer) in {400, 421}


def test_the_host_of_an_absolute_target_counts(plane):
    assert status(ask(plane, "http://evil.example/function/f")) == 421
    assert status(ask(plane, "http://localhost/function/f", host="evil.example")) == 200


def test_http_1_0_needs_no_host(plane):
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /function/f HTTP/1.0\r\n\r\n")
        assert status(client.recv(65536)) == 200


def test_a_websocket_with_another_host_is_rejected(plane):
    upgrade = (
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Origin: http://evil.example:{plane.port}",
    )
    lines = ["GET /function/f HTTP/1.1", "Host: evil.example", "Connection: Upgrade", *upgrade]
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert status(client.recv(65536)) == 421


def over_http2(plane: Plane, *headers: tuple[str, str]) -> bytes:
    """Send a request over HTTP/2 without TLS (RFC 9113, RFC 7541); return the body of the reply."""
    block = b"".join(
        b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in header)
        for header in headers
    )
    settings = struct.pack(">HBBBI", 0, 0, 4, 0, 0)
    end_headers = struct.pack(">HBBBI", len(block) >> 8, len(block) & 0xFF, 1, 4, 1) + block
    end_stream = struct.pack(">HBBBI", 0, 0, 0, 1, 1)
    body = b""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=PATIENCE) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + end_headers)
        if ":protocol" not in dict(headers):
            client.sendall(end_stream)
        with client.makefile("rb") as answer:
            while head := answer.read(9):
                high, low, kind, flags, stream = struct.unpack(">HBBBI", head)
                data = answer.read((high << 8) + low)
                if stream == 1 and kind == 0:
                    body += data
                if stream == 1 and kind in {0, 1} and flags & 1:
                    return body
    raise AssertionError("the answer is not whole")


def test_the_authority_of_http_2_counts(plane):
    target = ((":scheme", "http"), (":path", "/function/f"))
    for method in (((":method", "GET"),), ((":method", "CONNECT"), (":protocol", "websocket"))):
        answer = over_http2(plane, *method, *target, (":authority", "evil.example:80"))
        assert json.loads(answer)["error"] == "HostNotAllowed"
    answer = over_http2(plane, (":method", "GET"), *target, (":authority", "app.localhost:1"))
    assert b"GET /function/f HTTP/1.1" in answer


@pytest.mark.parametrize("method", ["Invoke", "Info", "Invokes"])
def test_grpc_to_another_host_is_rejected_with_status_and_message(plane, method):
    options = [("grpc.default_authority", f"evil.example:{plane.port}")]
    with grpc.insecure_channel(f"127.0.0.1:{plane.port}", options) as channel:
        call = channel.unary_unary(f"/pb.Gateway/{method}")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=PATIENCE)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "--allow-host" in raised.value.details()


def test_a_preflight_for_another_host_is_rejected(fresh):
    lines = [
        "OPTIONS /function/f HTTP/1.1",
        "Host: evil.example",
        "Origin: http://evil.example",
        "Access-Control-Request-Method: POST",
        "Connection: close",
    ]
    with socket.create_connection(("127.0.0.1", fresh.port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert status(client.recv(65536)) == 421


def test_with_keys_and_on_the_private_socket_any_host_is_accepted(short_dir):
    with running(short_dir, open=False, allowed_hosts="") as plane:
        plane.serve(plane.sockets.control, echo)
        assert status(ask(plane, "/healthz", host="evil.example")) == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(plane.sockets.calls))
            client.sendall(b"GET /system/functions HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert status(client.recv(65536)) == 200


def test_an_asterisk_allows_every_host(short_dir):
    with running(short_dir, allowed_hosts="box,*") as plane:
        plane.serve(plane.sockets.control, echo)
        assert status(ask(plane, "/system/functions", host="evil.example")) == 200
