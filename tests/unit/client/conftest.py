"""A scripted server and both faces of the client."""

import socket
from collections.abc import Iterator

import pytest

from dcf.client import operations
from unit.client.kit import FACES, Scripted, scripted


@pytest.fixture
def server() -> Iterator[Scripted]:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    yield from scripted(listener, f"http://{host}:{port}")


@pytest.fixture(params=FACES)
def face(request, monkeypatch, tmp_path):
    """The class of a client."""
    monkeypatch.setenv("DCF_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("DCF_TOKEN", raising=False)
    monkeypatch.setattr(operations, "MARGIN", 0.1)
    return FACES[request.param]


@pytest.fixture
def client(face, server):
    with face(server.url, "secret", timeout=20) as made:
        yield made
