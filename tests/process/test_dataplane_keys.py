"""API keys, checked by a real Envoy with the real set of keys."""

import base64
import hmac
import http.client
import json
import socket
import time

import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.server import HttpServer
from dcf.controlplane.tokens import Tokens
from dcf.dataplane.jwt_auth import REFETCH
from dcf.protocol import http as http_names
from process.plane import Plane, running

SECRET = b"s" * 32
TELL = """
    class Handler:
        def __call__(self, req):
            return {name: value for name, value in req.headers.items()}
"""


class Keyring:
    """The control plane's server for keys, which can be stopped and restarted."""

    def __init__(self, plane: Plane, catalog: Catalog) -> None:
        self.tokens = Tokens(SECRET, catalog.keys)
        self._plane = plane
        self._server: HttpServer | None = None

    def open(self) -> None:
        self._server = HttpServer(KeySet(self.tokens).app, self._plane.sockets.keys)
        self._plane.do(self._server.start())

    def close(self) -> None:
        if self._server:
            self._plane.do(self._server.stop())
        self._server = None


@pytest.fixture
def plane(short_dir):
    plane = Plane(short_dir, open=False)
    plane.do(plane.discovery.start(plane.sockets.discovery))
    plane.do(plane.checks.start(plane.sockets.hold))
    yield plane
    plane.stop()


@pytest.fixture
def ring(plane, tmp_path):
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        ring = Keyring(plane, catalog)
        yield ring
        ring.close()


@pytest.fixture
def ready(plane: Plane, ring, launch) -> Plane:
    ring.open()
    plane.start_envoy()
    plane.serve_control()
    plane.set("tell", launch(TELL, function="tell").endpoint)
    return plane


def status(plane: Plane, token: str, path: str = "/function/tell") -> int:
    code: int = plane.call(path, authorization=f"Bearer {token}")[0]
    return code


def test_a_token_is_accepted_and_no_handler_sees_it(ready, ring):
    code, _, body = ready.call(
        "/function/tell", authorization=f"Bearer {ring.tokens.management}", x_mine="mine"
    )
    assert (code, json.loads(body)["x-mine"]) == (200, "mine")
    assert "authorization" not in json.loads(body)


def test_without_a_key_all_requests_are_rejected(ready):
    for path in ("/function/tell", "/system/functions", "/healthz/x", "/"):
        code, headers, _ = ready.call(path)
        assert (code, headers["www-authenticate"]) == (401, "Bearer"), path
        assert ready.problem(path)["error"] == "AccessDenied"


def test_the_health_check_needs_no_key(ready):
    assert json.loads(ready.call("/healthz?x=1")[2]) == {"control": "/healthz?x=1"}


def test_no_path_bypasses_the_key(ready):
    for path in (
        "/healthz/../function/tell",
        "/healthz/%2e%2e/function/tell",
        "/healthz/..%2ffunction/tell",
        "/healthz//../../function/tell",
        "/healthz\\..\\function\\tell",
        "//healthz/../function/tell",
        "http://x/function/tell",
        "*",
    ):
        assert ready.call(path)[0] in {400, 401, 404}, path
    assert not any(line["replica"] for line in ready.access_log(8))


def test_the_private_socket_needs_no_key(ready):
    mode = ready.sockets.calls.stat().st_mode
    assert mode & 0o077 == 0
    assert ready.call_privately("/function/tell")[0] == 200


def test_a_key_is_accepted_until_it_is_revoked(ready, ring):
    key = ring.tokens.issue("laptop")
    began = time.monotonic()
    ready.until(lambda: status(ready, key) == 200)
    ring.tokens.revoke("laptop")
    ready.until(lambda: status(ready, key) == 401)
    assert time.monotonic() - began < 2 * REFETCH + 2
    assert status(ready, ring.tokens.management) == 200


def test_the_last_set_of_keys_is_used_while_the_control_plane_is_down(ready, ring):
    key = ring.tokens.issue("laptop")
    ready.until(lambda: status(ready, key) == 200)
    ring.close()
    ring.tokens.revoke("laptop")
    end = time.monotonic() + 2.5 * REFETCH
    while time.monotonic() < end:
        assert status(ready, key) == 200
        time.sleep(0.05)
    ring.open()
    ready.until(lambda: status(ready, key) == 401, 2 * REFETCH)


def test_a_replica_gets_the_id_of_the_key_and_no_handler_does(ready, ring, launch):
    heads = []

    async def tell(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    key = ring.tokens.issue("laptop")
    (kid,) = (one.kid for one in ring.tokens.keys.all())
    ready.until(lambda: status(ready, key) == 200)
    seen = json.loads(ready.call("/function/tell", authorization=f"Bearer {key}")[2])
    assert http_names.KEY not in seen
    ready.set("raw", ready.serve(ready.folder / "raw.sock", tell))
    assert ready.call("/function/raw", authorization=f"Bearer {key}", x_dcf_key="forged")[0] == 200
    assert f"\r\nx-dcf-key: {kid}\r\n" in heads[0]
    assert "forged" not in heads[0]
    assert ready.call_privately("/function/raw")[0] == 200
    assert "x-dcf-key" not in heads[1]


def test_an_open_gateway_sends_no_key_id(short_dir, launch):
    with running(short_dir) as plane:
        plane.set("tell", launch(TELL, function="tell").endpoint)
        seen = json.loads(plane.call("/function/tell", x_dcf_key="forged")[2])
        assert http_names.KEY not in seen
        assert plane.call("/function/tell")[0] == 200


def test_before_the_first_set_of_keys_envoy_rejects_all_calls(plane, ring, launch):
    plane.start_envoy()
    plane.serve_control()
    plane.set("tell", launch(TELL, function="tell").endpoint)
    assert status(plane, ring.tokens.management) == 401
    assert plane.call("/healthz")[0] == 404
    ring.open()
    plane.until(lambda: status(plane, ring.tokens.management) == 200, 2 * REFETCH)


def encoded(members: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


def forged(**header: str) -> str:
    signed = f"{encoded(header)}.{encoded({})}"
    signature = hmac.digest(b"a guess", signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_an_invalid_key_is_rejected(ready, ring):
    header, payload, signature = ring.tokens.management.split(".")
    for token in (
        "",
        "x",
        "a.b.c",
        forged(alg="HS256", kid="management"),
        forged(alg="HS256"),
        f"{header}.{payload}.",
        f"{header}.{encoded({'x': 1})}.{signature}",
        f"{encoded({'alg': 'none', 'kid': 'management'})}.{payload}.",
    ):
        assert status(ready, token) == 401, token


def test_neither_the_query_nor_another_scheme_carries_a_key(ready, ring):
    token = ring.tokens.management
    assert ready.call(f"/function/tell?access_token={token}")[0] == 401
    assert ready.call("/function/tell", authorization=f"Basic {token}")[0] == 401


def test_clients_cannot_read_the_set_of_keys(ready, ring):
    token = ring.tokens.management
    for path in ("/jwks", "http://keys/jwks", "/function/Keys", "/function/keys"):
        answer = ready.call(path, authorization=f"Bearer {token}")[2]
        assert b"oct" not in answer


def test_a_preflight_needs_no_key(short_dir):
    with running(short_dir, open=False, cors="https://a.example, https://b.example") as plane:
        code, headers, _ = plane.call(
            "/function/tell",
            method="OPTIONS",
            origin="https://b.example",
            access_control_request_method="POST",
        )
        assert (code, headers["access-control-allow-origin"]) == (200, "https://b.example")
        assert headers["access-control-allow-headers"] == "authorization, *"
        refused = plane.call("/function/tell", origin="https://a.example")
        assert (refused[0], refused[1]["access-control-allow-origin"]) == (401, "https://a.example")
        stranger = plane.call("/function/tell", origin="https://c.example")
        assert "access-control-allow-origin" not in stranger[1]


def upgraded(plane, **headers: str) -> tuple[int, bytes]:
    """Return status and body of the reply to a WebSocket handshake."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = (
        "GET /function/chat HTTP/1.1\r\nhost: gate:1\r\nupgrade: websocket\r\nconnection: upgrade"
    )
    key = "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
    with socket.create_connection(("127.0.0.1", plane.port), timeout=10) as connection:
        connection.sendall("\r\n".join((head, key, *lines, "", "")).encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, b"" if response.status == 101 else response.read()


async def chat(reader, writer) -> None:
    """Start a function that accepts WebSockets."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    writer.write(b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n")
    await writer.drain()
    writer.close()


def test_a_page_of_another_origin_cannot_open_a_websocket(short_dir):
    with running(short_dir, cors="https://a.example") as plane:
        plane.set("chat", plane.serve(short_dir / "chat.sock", chat))
        status, body = upgraded(plane, origin="https://b.example")
        problem = json.loads(body)
        assert (status, problem["error"]) == (401, "AccessDenied")
        assert problem["detail"].startswith(
            "pages of https://b.example must not open a WebSocket here"
        )
        assert upgraded(plane, origin="null")[0] == 401
        assert upgraded(plane, origin="http://gate:2")[0] == 401
        assert upgraded(plane, origin="https://a.example")[0] == 101
        assert upgraded(plane, origin="http://gate:1")[0] == 101
        assert upgraded(plane)[0] == 101


def test_with_all_origins_allowed_every_page_can_open_a_websocket(short_dir):
    with running(short_dir, cors="*") as plane:
        plane.set("chat", plane.serve(short_dir / "chat.sock", chat))
        assert upgraded(plane, origin="https://b.example")[0] == 101
