"""What a handler may return."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dcf import Reply
from dcf.errors import UnsupportedReply
from dcf.function.reply import encode, encode_chunk


@pytest.mark.parametrize(
    ("value", "body", "content_type"),
    [
        (b"\x00", b"\x00", b"application/octet-stream"),
        (bytearray(b"ab"), b"ab", b"application/octet-stream"),
        (memoryview(b"ab"), b"ab", b"application/octet-stream"),
        ("é", "é".encode(), b"text/plain; charset=utf-8"),
        ({"é": [1, 2.5, None, True]}, '{"é": [1, 2.5, null, true]}'.encode(), b"application/json"),
        ([], b"[]", b"application/json"),
    ],
)
def test_values(value, body, content_type):
    encoded = encode(value)
    assert (encoded.body, encoded.content_type, encoded.status) == (body, content_type, 200)


def test_a_picture_becomes_png():
    encoded = encode(Image.new("RGB", (3, 2), "red"))
    assert encoded.content_type == b"image/png"
    assert isinstance(encoded.body, bytes)
    with Image.open(io.BytesIO(encoded.body)) as picture:
        assert (picture.format, picture.size, picture.getpixel((0, 0))) == (
            "PNG", (3, 2), (255, 0, 0))  # fmt: skip


def test_an_array_becomes_npy():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    encoded = encode(array)
    assert encoded.content_type == b"application/x-npy"
    assert isinstance(encoded.body, bytes)
    np.testing.assert_array_equal(np.load(io.BytesIO(encoded.body)), array)


def test_reply_overrides_what_fits():
    encoded = encode(Reply({"a": 1}, "application/ld+json", 201, {"X-A": "b"}))
    assert (encoded.content_type, encoded.status) == (b"application/ld+json", 201)
    assert encoded.headers == ((b"x-a", b"b"),)
    assert isinstance(encoded.body, bytes)
    assert json.loads(encoded.body) == {"a": 1}


OUTSIDE = (-1, 0, 1, 100, 101, 103, 199, 600, 999, 2**70)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"got None \(is a return missing\?\)"),
        (1, "expected bytes, str, .*, got a value of type int"),
        ((1, 2), "a value of type tuple"),
        ({1, 2}, "a value of type set"),
        ({"a": np.float32(1)}, r"numpy.float32.*\.item\(\)"),
        (
            {"a": b"x"},
            "expected values that JSON can represent, got a value of type bytes; convert it",
        ),
        ({(1, 2): 3}, "cannot be encoded as JSON"),
        ([float("inf")], "cannot be encoded as JSON"),
        (["\ud800"], "cannot be encoded as JSON"),
        (np.array([object()]), "cannot be sent as .npy"),
        (Reply("x", status=99), "the status of a Reply: expected 200 to 599, got 99"),
        (Reply("x", status="200"), "expected 200 to 599, got '200'"),  # type: ignore[arg-type]
        (Reply("x", headers={"a b": "c"}), "'a b' cannot be a header"),
        (Reply("x", headers={"Content-Length": "1"}), "'Content-Length' cannot be a header"),
        *(
            (Reply("x", headers={name: "x"}), f"{name!r} cannot be a header.*the server sets it")
            for name in ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer")
        ),
        (Reply("x", headers={"transfer-encoding": "chunked"}), "the server sets it"),
        (Reply("x", headers={"upgrade": "h2c"}), "the server sets it"),
        (Reply("x", headers={"": "x"}), "'' cannot be a header"),
        (Reply("x", headers={"a:": "x"}), "'a:' cannot be a header"),
        (Reply("x", headers={"a\r\nb": "x"}), "cannot be a header"),
        (Reply("x", headers={"a\0": "x"}), "cannot be a header"),
        (Reply("x", headers={"\ud800": "x"}), "cannot be a header"),
        (Reply("x", headers={1: "x"}), "1 cannot be a header"),  # type: ignore[dict-item]
        (Reply("x", headers={"a": "b\0"}), "the header a .*without control characters"),
        (Reply("x", headers={"a": "b\ud800"}), "the header a .*half of a character"),
        (Reply("x", headers={"a": 1}), "the header a .*got 1"),  # type: ignore[dict-item]
        (Reply("x", content_type="text/plain\r\na: b"), "the header content-type"),
        (Reply("x", content_type="\ud800"), "the header content-type .*half of a character"),
        *((Reply("x", status=status), f"expected 200 to 599, got {status}") for status in OUTSIDE),
        (Reply("x", status=None), "expected 200 to 599, got None"),  # type: ignore[arg-type]
        (Reply("x", status=204.0), "expected 200 to 599, got 204.0"),  # type: ignore[arg-type]
        ("\ud800", "half of a character"),
        (Reply("a\udc00b\ud800"), "half of a character"),
        (Reply("x", headers={"a": "b\r\nc: d"}), "the header a"),
        (Reply("x", content_type="text/\nplain"), "the header content-type"),
        (Reply(Reply("x")), "dcf.function.reply.Reply"),
    ],
)
def test_what_cannot_be_sent(value, message):
    with pytest.raises(UnsupportedReply, match=message):
        encode(value)


def test_circles_have_no_json_form():
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(UnsupportedReply, match="cannot be encoded as JSON"):
        encode(circle)


def test_chunks():
    assert [encode_chunk(value) for value in (b"a", "b", {"c": 1})] == [b"a", b"b", b'{"c": 1}\n']
    with pytest.raises(
        UnsupportedReply, match="expected one item of a generator, got another generator"
    ):
        encode_chunk(iter(()))


def test_a_reply_does_not_name_its_call():
    headers = {"X-Request-Id": "mine", "x-a": "b"}
    assert encode(Reply("x", headers=headers)).headers == ((b"x-a", b"b"),)


def test_bytes_that_were_made_a_text_become_these_bytes():
    assert encode("caf\udce9").body == b"caf\xe9"
