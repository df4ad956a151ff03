"""The project's own gRPC code: messages, frames, headers, the bridge's connections and links."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from dcf.bridge.envoy_connection import EnvoyConnection
from dcf.bridge.link import BACKLOG, Link
from dcf.client.address import parse
from dcf.client.async_websocket import AsyncWebSocket
from dcf.errors import (
    BadRequest,
    BodyTooLarge,
    BuildError,
    DcfError,
    FunctionNotFound,
    HandlerRaised,
)
from dcf.rpc import grpc_framing
from dcf.rpc.descriptors import build
from dcf.rpc.gateway_messages import MESSAGES
from dcf.rpc.grpc_framing import (
    FrameReader,
    framed_output,
    percent_encoded,
    read_request,
    read_timeout,
)
from dcf.rpc.grpc_status import LONGEST_MESSAGE, bounded, message_of
from property.kit import PLACES, TEXTS, split

MOST = 200
"""Maximum bytes of Input in these tests."""
LONGEST = MOST + grpc_framing.ROUND_INPUT

# Frames


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


MESSAGES_SENT = st.lists(st.binary(max_size=20) | st.integers(0, LONGEST).map(bytes), max_size=6)


def fed(pieces: list[bytes]) -> tuple[list[bytes], type[DcfError] | None, bool]:
    reader, result = FrameReader(MOST), list[bytes]()
    try:
        for piece in pieces:
            result += reader.feed(piece)
            assert reader._size < grpc_framing.PREFIX + LONGEST
    except DcfError as error:
        return result, type(error), False
    return result, None, reader.is_amid


@given(MESSAGES_SENT, PLACES, st.integers(0, 10))
def test_messages_do_not_depend_on_how_their_frames_are_split(sent, places, missing):
    data = b"".join(map(framed, sent))
    data = data[: len(data) - missing] if missing < len(data) else data
    result = fed([data])
    assert fed(split(data, places)) == result
    assert result[0] == sent[: len(result[0])]


@given(st.binary(max_size=40), PLACES)
def test_invalid_frames_are_rejected_however_they_are_split(data, places):
    result, error, is_amid = fed(split(data, places))
    at_once = fed([data])
    assert (error, is_amid) == at_once[1:]
    assert error is not None or result == at_once[0]


@given(st.integers(LONGEST + 1, 2**32 - 1), st.integers(0, 255))
def test_a_message_that_is_too_large_is_rejected_by_its_length(size, flag):
    with pytest.raises(BodyTooLarge):
        FrameReader(MOST).feed(bytes([flag]) + size.to_bytes(4, "big"))


# Messages

CLASSES = build("property.grpc", {"Request": {"Service": (1, ".google.protobuf.BytesValue")}})


def varint(number: int) -> bytes:
    return grpc_framing._varint_of(number)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


OTHERS = st.one_of(
    st.builds(field, st.integers(3, 1 << 20), st.binary(max_size=9)),
    st.builds(
        lambda number, value: varint(number << 3) + varint(value),
        st.integers(3, 99),
        st.integers(0, 2**64 - 1),
    ),
    st.builds(
        lambda number, value: varint(number << 3 | 1) + value,
        st.integers(3, 99),
        st.binary(min_size=8, max_size=8),
    ),
    st.builds(
        lambda number, value: varint(number << 3 | 5) + value,
        st.integers(3, 99),
        st.binary(min_size=4, max_size=4),
    ),
)
FIELDS_SENT = st.lists(
    st.builds(field, st.just(1), st.text(max_size=9).map(str.encode))
    | st.builds(field, st.just(2), st.binary(max_size=200))
    | OTHERS,
    max_size=5,
).map(b"".join)


@given(FIELDS_SENT)
def test_a_request_is_parsed_as_protobuf_parses_it(data):
    expected = MESSAGES["InvokeServiceRequest"].FromString(data)
    assert read_request(data) == (expected.Service.encode(), expected.Input)


@given(
    st.binary(max_size=40)
    | FIELDS_SENT.flatmap(lambda data: st.integers(0, len(data)).map(lambda n: data[:n]))
)
def test_a_request_is_parsed_or_rejected(data):
    try:
        service, given_ = read_request(data)
    except BadRequest:
        return
    try:
        expected = MESSAGES["InvokeServiceRequest"].FromString(data)
    except DecodeError:
        return
    assert (service, given_) == (expected.Service.encode(), expected.Input)


@given(st.binary(max_size=300) | st.sampled_from([125, 126, 127, 128, 16383, 16384]).map(bytes))
def test_protobuf_parses_an_output(output):
    [message] = FrameReader(1 << 20).feed(framed_output(output))
    assert MESSAGES["Messages"].FromString(message).Output == output


# Headers


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,8}[HMSmun]", fullmatch=True))
def test_a_timeout_is_seconds_or_none(text):
    result = read_timeout(text)
    assert (result is None) is (re.fullmatch(r"[0-9]{1,8}[HMSmun]", text, re.ASCII) is None)
    assert result is None or 0 <= result <= 99_999_999 * 3600


MANY = st.builds(
    lambda head, middle, tail, many: head * many + middle * 9000 + tail * many,
    *[st.sampled_from(["\n", "a", "ü", "\ud800", "%", "你"])] * 3,
    st.integers(0, 3000),
)


@given(TEXTS | MANY)
def test_a_message_fits_a_header_however_long_its_encoding_is(text):
    encoded = percent_encoded(bounded(text))
    assert len(encoded) <= LONGEST_MESSAGE + 20
    assert re.fullmatch(rb"[ -~]*", encoded)
    assert unquote_to_bytes(encoded.replace(b"+", b"%2B")).decode() == bounded(text)


@given(TEXTS, st.lists(TEXTS, max_size=2), TEXTS | MANY)
def test_every_error_has_a_message_that_can_be_sent(text, near, more):
    for error in (
        FunctionNotFound(text, near),
        BuildError(text, more),
        HandlerRaised(text, "E", more),
    ):
        assert len(percent_encoded(message_of(error))) <= LONGEST_MESSAGE + 20


# A connection of the bridge


class Written:
    """The writer of a connection, in place of a transport."""

    def __init__(self) -> None:
        self.data = b""
        self.aborted = False

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        self.data += data

    def abort(self) -> None:
        self.aborted = True

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


class Heard:
    """A call that records its messages, and is answered at its end."""

    def __init__(self, client: Any, metadata: Mapping[str, str]) -> None:
        self.client = client
        self.metadata = dict(metadata)
        self.body = b""
        self.ended = ""

    def received(self, data: bytes) -> None:
        assert not self.ended
        self.body += data

    def half_closed(self) -> None:
        self.ended += "half"
        self.client.finish(0, "")

    def disconnected(self) -> None:
        self.ended += "gone"


def carried(pieces: list[bytes]) -> tuple[list[tuple[dict[str, str], bytes, str]], bool, int]:
    calls: list[Heard] = []

    def begin(client: Any, metadata: Mapping[str, str]) -> Any:
        calls.append(Heard(client, metadata))
        return calls[-1]

    connection, transport = EnvoyConnection(begin, set(), 300.0), Written()
    connection.connection_made(transport)  # type: ignore[arg-type]
    for piece in pieces:
        if not transport.aborted:
            connection.data_received(piece)
    connection.connection_lost(None)
    events = [(call.metadata, call.body, call.ended) for call in calls]
    return events, transport.aborted, transport.data.count(b"grpc-status: 0")


HEADER_LINES = st.lists(
    st.sampled_from([b"x-request-id: 1", b"grpc-timeout: 1S", b"a: \xff", b"X: y", b"empty:"]),
    max_size=3,
)
CHUNKED = st.lists(st.binary(min_size=1, max_size=20), max_size=4).map(
    lambda parts: b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
)
CALLS = st.builds(
    lambda lines, body: b"\r\n".join(
        (b"POST /x HTTP/1.1", b"transfer-encoding: chunked", *lines, b"", body)
    ),
    HEADER_LINES,
    CHUNKED,
)


@given(st.lists(CALLS, max_size=3).map(b"".join), PLACES)
def test_calls_on_a_connection_do_not_depend_on_how_their_bytes_are_split(data, places):
    async def check() -> None:
        whole = carried([data])
        assert carried(split(data, places)) == whole
        assert whole[1:] == (False, len(whole[0]))
        assert {ended for _, _, ended in whole[0]} <= {"half"}

    asyncio.run(check())


@given(
    st.binary(max_size=60)
    | st.tuples(
        st.lists(CALLS, min_size=1, max_size=2).map(b"".join),
        st.integers(0, 400),
        st.integers(0, 255),
    ).map(
        lambda given: (
            given[0][: given[1] % len(given[0])]
            + bytes([given[2]])
            + given[0][given[1] % len(given[0]) + 1 :]
        )
    ),
    PLACES,
)
def test_invalid_http_ends_only_its_connection(data, places):
    async def check() -> None:
        calls, aborted, _ = carried(split(data, places))
        assert all(ended for _, _, ended in calls), "each call ends"
        assert aborted == carried([data])[1]

    asyncio.run(check())


# A link


class Slow:
    """A stream that records what it is sent, and lets other tasks run in between."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.over = asyncio.Event()
        self.ended = False

    async def send(self, batch: list[bytes]) -> bool:
        assert not self.ended
        await asyncio.sleep(0)
        self.sent += batch
        return True

    def end(self) -> None:
        self.ended = True
        self.over.set()

    async def receive(self) -> list[bytes]:
        await self.over.wait()
        return []

    async def close(self) -> None: ...

    def abort(self) -> None: ...


class Called:
    """The call that a link is part of."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def reply(self, items: object) -> None: ...

    def unblocked(self) -> None: ...

    def ended(self, link: Link) -> None:
        self.heard.append("ended")

    def failed(self, error: DcfError) -> None:
        self.heard.append(error)


@given(
    st.lists(st.lists(st.binary(max_size=9) | st.just(bytes(BACKLOG)), max_size=4), max_size=4),
    st.integers(0, 3),
)
def test_a_link_sends_all_messages_in_order_and_counts_the_queued_bytes(batches, early):
    stream = Slow()

    async def check() -> None:
        owner = Called()
        link = Link(owner, "f", MOST)

        async def opened(*_: object, **__: object) -> Slow:
            return stream

        for message in (message for batch in batches[:early] for message in batch):
            link.put(message)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AsyncWebSocket, "open", opened)
            running = asyncio.create_task(link.run(parse("unix:/x"), []))
            for batch in batches[early:]:
                for message in batch:
                    link.put(message)
                await asyncio.sleep(0)
            link.end()
            await running
        assert owner.heard == ["ended"]
        assert not link.is_full
        assert link._size == 0

    asyncio.run(check())
    assert stream.sent == [message for batch in batches for message in batch]
