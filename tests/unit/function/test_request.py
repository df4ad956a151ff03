"""What a handler is given."""

import math
import time

import pytest

from dcf import Request
from dcf.errors import BadRequest, SecretNotFound
from dcf.function.secrets import SECRETS_DIR, secret


def test_a_test_needs_the_body_alone():
    request = Request(b"Hello")
    assert (request.input, request.text, request.method, request.path) == (
        b"Hello", "Hello", "POST", "/")  # fmt: skip
    assert (str(request.info), request.query, dict(request.headers)) == ("function", {}, {})
    assert (request.content_type, request.cancelled) == ("", False)
    assert request.deadline == request.remaining == math.inf


def test_headers_in_any_case_and_joined():
    request = Request(headers=[(b"Accept", b"a"), (b"accept", b"b"), (b"X-Y", b"\xe9")])
    assert request.headers["ACCEPT"] == "a, b"
    assert request.headers["x-y"] == "é"
    assert "X-y" in request.headers
    assert request.headers.get("other") is None
    assert list(request.headers) == ["accept", "x-y"]
    assert len(request.headers) == 2


def test_query():
    assert Request(query=b"a=1&b=&a=%20x").query == {"a": " x", "b": ""}


def test_text_and_json_of_what_is_neither():
    with pytest.raises(BadRequest, match="not UTF-8"):
        _ = Request(b"\xff").text
    for body in (b"{", b"", b"\xff", b"[" * 100_000):
        with pytest.raises(BadRequest, match="not JSON"):
            Request(body).json()


def test_the_deadline_is_a_time_of_day():
    request = Request(ends=time.monotonic() + 10)
    assert 9.9 < request.remaining <= 10
    assert 9.9 < request.deadline - time.time() < 10.1
    assert Request(ends=time.monotonic() - 1).remaining == 0


def test_cancel():
    request = Request()
    request.cancel()
    assert request.cancelled


def test_a_secret_by_its_name(monkeypatch, tmp_path):
    with pytest.raises(SecretNotFound):
        secret("token")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    (tmp_path / "token").write_text("s3cret\r\n")
    assert secret("token") == "s3cret"
    for name in ("other", "../token", "", "."):
        with pytest.raises(SecretNotFound):
            secret(name)
