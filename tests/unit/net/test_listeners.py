"""Listening sockets."""

from __future__ import annotations

import socket
import stat

import pytest

from dcf.errors import AddressInUse
from dcf.model.endpoint import Endpoint
from dcf.net.listeners import endpoint_of, listen, listen_unix


def reached(endpoint):
    kind = socket.AF_UNIX if endpoint.is_unix else socket.AF_INET
    where = endpoint.path if endpoint.is_unix else (endpoint.host, endpoint.port)
    with socket.socket(kind) as client:
        return client.connect_ex(where) == 0


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_listener_is_reached_at_its_endpoint(kind, tmp_path):
    wanted = (
        Endpoint(path=str(tmp_path / "s")) if kind == "unix" else Endpoint.parse("tcp:127.0.0.1:0")
    )
    with listen(wanted, 1) as listener:
        assert endpoint_of(listener).is_unix == wanted.is_unix
        assert reached(endpoint_of(listener))


def test_a_unix_socket_is_private(tmp_path):
    with listen_unix(tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_the_socket_of_a_killed_process_is_replaced_if_asked(tmp_path):
    path = tmp_path / "s"
    listen_unix(path).close()
    with pytest.raises(AddressInUse, match="cannot listen on"):
        listen(Endpoint(path=str(path)), 1)
    with listen_unix(path):
        assert reached(Endpoint(path=str(path)))


def test_a_path_that_is_too_long_is_an_error(tmp_path):
    with pytest.raises(AddressInUse, match="too long"):
        listen_unix(tmp_path / ("s" * 120))


def test_a_port_in_use_is_an_error():
    with (
        listen(Endpoint.parse("tcp:127.0.0.1:0"), 1) as first,
        pytest.raises(AddressInUse, match=r"cannot listen on tcp:127\.0\.0\.1"),
    ):
        listen(endpoint_of(first), 1)
