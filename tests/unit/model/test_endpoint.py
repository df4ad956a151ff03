"""The text form of an endpoint."""

from __future__ import annotations

import pytest

from dcf.model.endpoint import Endpoint, unix_path


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/run/a b.sock", Endpoint(path="/run/a b.sock")),
        ("tcp:127.0.0.1:0", Endpoint(host="127.0.0.1", port=0)),
        ("tcp:[::1]:8080", Endpoint(host="::1", port=8080)),
        ("tcp:localhost:65535", Endpoint(host="localhost", port=65535)),
    ],
)
def test_an_endpoint_reads_back_as_it_was_printed(text, endpoint):
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:/a\nb",
        "tcp:",
        "tcp::80",
        "tcp:host",
        "tcp:host:x",
        "tcp:host:65536",
        "fd:3",
    ],
)
def test_any_other_text_is_rejected(text):
    with pytest.raises(ValueError, match="expected unix:PATH or tcp:HOST:PORT, got"):
        Endpoint.parse(text)


def test_only_a_unix_endpoint_has_a_path():
    assert unix_path("unix:/a") == "/a"
    assert not unix_path("tcp:127.0.0.1:80")
    assert not unix_path("fd:3")
