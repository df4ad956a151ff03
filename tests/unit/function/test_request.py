"""What a handler is given."""

import asyncio
import math
import time
from itertools import count, islice

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
    with pytest.raises(BadRequest, match="the body is not valid UTF-8"):
        _ = Request(b"\xff").text
    for body in (b"{", b"", b"\xff", b"[" * 100_000):
        with pytest.raises(BadRequest, match="the body is not valid JSON"):
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


async def _read(stream):
    return [message async for message in stream]


def test_a_stream_of_one_message_is_the_body():
    assert list(Request(b"x").stream) == [b"x"]
    assert asyncio.run(_read(Request(b"x").stream)) == [b"x"]


def test_a_stream_in_a_test():
    request = Request(stream=[b"a", b"b"])
    assert (request.input, list(request.stream), list(request.stream)) == (b"a", [b"a", b"b"], [])
    assert asyncio.run(_read(Request(stream=[b"a", b"b"]).stream)) == [b"a", b"b"]
    empty = Request(stream=[])
    assert (empty.input, list(empty.stream)) == (b"", [])


def test_a_stream_without_an_end_is_read_as_it_comes():
    request = Request(stream=(b"%d" % number for number in count()))
    assert list(islice(request.stream, 3)) == [b"0", b"1", b"2"]


def test_one_message_of_a_stream_as_a_request():
    whole = Request(b"a", path="/p", query=b"q=1", headers=[(b"x-y", b"z")], function="f",
                    request_id=b"id", stream=[b"a", b"b"])  # fmt: skip
    part = whole.about(b"b")
    assert (part.input, list(part.stream), part.path, part.query) == (
        b"b",
        [b"b"],
        "/p",
        {"q": "1"},
    )
    assert (dict(part.headers), str(part.info), part.request_id) == ({"x-y": "z"}, "f", "id")
    whole.renew(time.monotonic() + 5)
    assert 4 < part.remaining <= 5
    assert not part.cancelled
    whole.cancel()
    assert part.cancelled
