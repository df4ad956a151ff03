"""The control plane's HTTP server behind a real Envoy."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.http.app import make_app
from dcf.controlplane.http.server import HttpServer
from dcf.controlplane.tokens import Tokens
from dcf.settings import ControlSettings
from process import plane as dataplane
from unit.controlplane.http_kit import DIGEST, Plane


@dataclass
class Front:
    """Envoy with the control plane behind it."""

    envoy: dataplane.Plane
    plane: Plane
    token: str

    def begin(self, head: str) -> socket.socket:
        """A connection on which a request's beginning was sent."""
        sock = socket.create_connection(("127.0.0.1", self.envoy.port), timeout=30)
        line, _, rest = head.partition("\r\n")
        token = f"host: here\r\nauthorization: Bearer {self.token}"
        sock.sendall(f"{line}\r\n{token}\r\n{rest}".encode())
        return sock


@pytest.fixture(scope="module")
def front(tmp_path_factory) -> Iterator[Front]:
    os.environ["SHARED_BY_TESTS"] = "1"
    try:
        with dataplane.running(tmp_path_factory.mktemp("front")) as envoy, Catalog(None) as catalog:
            tokens = Tokens(os.urandom(32), catalog.keys)
            plane = Plane()
            app = make_app(plane, tokens, ControlSettings(request_limit=100_000))
            server = HttpServer(app, envoy.sockets.control)
            envoy.do(server.start())
            try:
                yield Front(envoy, plane, tokens.management)
            finally:
                envoy.do(server.stop())
    finally:
        del os.environ["SHARED_BY_TESTS"]


def test_a_client_that_vanishes_ends_its_stream(front: Front) -> None:
    with front.begin("GET /system/function-log/hello?follow=1 HTTP/1.1\r\n\r\n") as sock:
        reply = sock.makefile("rb")
        while not reply.readline().endswith(b"eins\n"):
            pass
        assert not front.plane.closed.is_set()
        reply.close()

    assert front.plane.closed.wait(10)


def test_an_answer_that_comes_before_the_bodys_end_arrives(front: Front) -> None:
    heads = {
        b"413": "PUT /system/scale-function HTTP/1.1\r\ncontent-length: 50000000\r\n\r\n",
        b"409": f"PUT /system/blobs/{DIGEST}?offset=9 HTTP/1.1\r\ncontent-length: 50000000\r\n\r\n",
    }
    for status, head in heads.items():
        with front.begin(head) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"x" * 5_000_000)
            assert sock.makefile("rb").readline().split()[1] == status


def test_a_call_of_an_unknown_function_is_answered_by_the_control_plane(front: Front) -> None:
    problem = front.envoy.problem("/function/helo", b"data")

    assert (problem["error"], problem["near"]) == ("FunctionNotFound", ["hello"])


def test_an_upgrade_to_an_unknown_function_is_answered_as_well(front: Front) -> None:
    head = (
        "GET /function/helo HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with front.begin(head) as sock:
        assert sock.makefile("rb").readline().split()[1] == b"404"
