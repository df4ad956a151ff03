"""Framing without protobuf gives the same bytes as protobuf."""

import random

import pytest

from dcf.errors import BadRequest, BodyTooLarge, MethodNotAllowed
from dcf.rpc.gateway_messages import MESSAGES
from dcf.rpc.grpc_framing import (
    ROUND_INPUT,
    FrameReader,
    framed_output,
    percent_encoded,
    read_request,
    read_timeout,
)

REQUEST = MESSAGES["InvokeServiceRequest"]
SIZES = (0, 1, 2, 125, 126, 127, 128, 129, 16_382, 16_383, 16_384, 300_000)


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("size", SIZES)
def test_a_request_of_any_size(size):
    data = bytes(random.randbytes(size))
    written = REQUEST(Service="echo", Input=data).SerializeToString()
    assert read_request(written) == (b"echo", data)


@pytest.mark.parametrize("size", SIZES)
def test_a_reply_of_any_size(size):
    data = bytes(random.randbytes(size))
    assert framed_output(data) == framed(MESSAGES["Messages"](Output=data).SerializeToString())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x12\x02hi\x0a\x03kit",  # the other way round
        b"\x0a\x05other\x12\x02no\x0a\x03kit\x12\x02hi",  # the last counts
        b"\x1a\x03new\x20\x96\x01\x0a\x03kit\x12\x02hi\x2d1234\x3112345678",  # unknown fields
        b"\x0a\x83\x80\x00kit\x12\x02hi",  # a length written longer than need be
        b"\x8a\x00\x03kit",  # a tag
        b"\x82\x01\x02hi\x0a\x03kit",  # a field beyond 15
    ],
)
def test_all_encodings_of_a_request_are_parsed(data):
    read = REQUEST.FromString(data)
    assert read_request(data) == (read.Service.encode(), read.Input)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\x7fkit",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08\x01",  # Service as a number
        b"\x00\x00",
        b"\x0b\x0c",  # a group
        b"\x0a\x03kit\x1d12",  # a number that is cut off
        b"\x1a\x7fnew",
        b"\xff" * 100,
    ],
)
def test_malformed_requests_are_rejected(data):
    with pytest.raises(BadRequest, match="malformed"):
        read_request(data)


def test_any_bytes_are_parsed_or_rejected():
    chance = random.Random(7)
    for _ in range(3000):
        data = chance.randbytes(chance.randrange(12))
        try:
            service, given = read_request(data)
        except BadRequest:
            continue
        assert len(service) + len(given) <= len(data)


def test_messages_are_found_however_the_bytes_are_split():
    messages = [bytes([number]) * size for number, size in enumerate((0, 1, 7, 3000, 2, 0, 5))]
    whole = b"".join(map(framed, messages))
    for step in (1, 3, 5, 1000, len(whole)):
        reader = FrameReader(4000)
        found = []
        for at in range(0, len(whole), step):
            found += reader.feed(whole[at : at + step])
        assert found == messages
        assert not reader.is_amid
    reader.feed(b"\0")
    assert reader.is_amid


def test_compressed_and_too_large_messages_are_rejected():
    assert FrameReader(10).feed(framed(b"x" * (10 + ROUND_INPUT)))
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        FrameReader(10).feed(framed(b"x" * (11 + ROUND_INPUT))[:5])
    with pytest.raises(MethodNotAllowed, match="compressed"):
        FrameReader(10).feed(framed(b"x", 1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2H", 7200), ("3M", 180), ("20S", 20), ("150m", 0.15), ("5u", 5e-6), ("7n", 7e-9)],
)
def test_timeouts(text, seconds):
    assert read_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", " 1S"])
def test_invalid_timeouts_are_ignored(text):
    assert read_timeout(text) is None


def test_messages_of_errors_are_encoded():
    assert percent_encoded("no 100%\n한 \ud800") == b"no 100%25%0A%ED%95%9C ?"
