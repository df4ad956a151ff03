"""Bytes of streams in the watcher: WebSocket frames and handshakes, bodies that are messages."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from dcf.errors import BadRequest, BodyTooLarge
from dcf.watcher.http import ws_handshake
from dcf.watcher.http.body_decoders import ChunkDecoder, LineDecoder
from dcf.watcher.http.ws_frames import BINARY, TEXT, WebSocketFrameReader, frame
from property.kit import PLACES, split

LARGEST = 300
"""Bytes of the largest message here: it includes a frame of each of the first two length
formats."""

DATA = st.binary(max_size=9) | st.integers(100, LARGEST + 3).map(bytes)
HEADERS = [
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", base64.b64encode(bytes(16))),
    (b"sec-websocket-version", b"13"),
]

FRAMES = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.PONG]),
    DATA,
    fin=st.booleans(),
    rsv1=st.sampled_from([False] * 9 + [True]),
)


def opened() -> ServerProtocol:
    protocol = ServerProtocol(select_subprotocol=ws_handshake.select, max_size=LARGEST)
    protocol.send_response(ws_handshake.accept(protocol, "GET", HEADERS))
    protocol.data_to_send()
    return protocol


def serialized(sent: Frame, *, mask: bool = True) -> bytes:
    """Serialize like :meth:`Frame.serialize`, which rejects invalid frames."""
    first = sent.fin << 7 | sent.rsv1 << 6 | sent.opcode
    size = len(sent.data)
    masked = 0x80 * mask
    head = bytes([first, masked | size]) if size < 126 else bytes([first, masked | 126])
    head += b"" if size < 126 else size.to_bytes(2, "big")
    return head + (bytes(4) if mask else b"") + bytes(sent.data)


def by_library(pieces: list[bytes]) -> tuple[list[tuple[bool, bytes]], ServerProtocol]:
    """Return what the library makes of the same bytes."""
    protocol, result = opened(), list[tuple[bool, bytes]]()
    parts: list[bytes] = []
    text = False
    for piece in pieces:
        if protocol.state is not State.CLOSED:
            protocol.receive_data(piece)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                text = text if event.opcode is Opcode.CONT else event.opcode is Opcode.TEXT
                parts.append(bytes(event.data))
                if event.fin:
                    result.append((text, b"".join(parts)))
                    parts = []
    return result, protocol


def by_reader(pieces: list[bytes]) -> tuple[list[tuple[bool, bytes]], ServerProtocol]:
    protocol = opened()
    reader, result = WebSocketFrameReader(protocol, LARGEST), list[tuple[bool, bytes]]()
    for piece in pieces:
        result += reader.feed(piece)
        assert len(reader._left) <= LARGEST + 14
    return result, protocol


def told(protocol: ServerProtocol) -> tuple[object, object]:
    """Return the state and the kind of error that a client caused."""
    return protocol.state, type(protocol.parser_exc)


@given(st.lists(FRAMES, max_size=6), PLACES)
def test_frames_become_the_messages_that_the_library_reads_however_they_are_split(frames, places):
    data = b"".join(map(serialized, frames))
    expected, library = by_library([data])
    for pieces in ([data], split(data, places)):
        result, protocol = by_reader(pieces)
        assert (result, told(protocol)) == (expected, told(library))


@st.composite
def damaged(draw: Callable[..., int], sent: list[Frame]) -> bytes:
    """Return frames of which a byte is changed."""
    data = bytearray(b"".join(map(serialized, sent)) or b"\0")
    data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(
    st.binary(max_size=60) | st.lists(FRAMES, max_size=3).flatmap(damaged),
    PLACES,
)
def test_invalid_frames_end_the_connection_as_in_the_library(data, places):
    expected, library = by_library([data])
    for pieces in ([data], split(data, places)):
        result, protocol = by_reader(pieces)
        assert result == expected
        # The library rejects a frame by its head, the reader by the whole frame.
        assert told(protocol) == told(library) or protocol.state is State.OPEN


@given(st.integers(LARGEST + 1, 2**63 - 1), PLACES)
def test_a_frame_that_is_too_large_is_rejected_by_its_head(size, places):
    head = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)
    if size < 65536:
        head = b"\x82\xfe" + size.to_bytes(2, "big") + bytes(4)
    result, protocol = by_reader(split(head, places))
    assert result == []
    assert isinstance(protocol.parser_exc, PayloadTooBig)


@given(
    st.sampled_from([TEXT, BINARY]),
    st.binary(max_size=200) | st.sampled_from([bytes(65535), bytes(65536)]),
)
def test_a_frame_is_parsed_to_what_was_written(opcode, data):
    client = ClientProtocol(parse_uri("ws://x/"), max_size=None, state=State.OPEN)
    client.receive_data(frame(opcode, data))
    [event] = client.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, bytes(event.data), event.fin) == (opcode, data, True)


NAMES = st.sampled_from([
    b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version",
    b"sec-websocket-protocol", b"sec-websocket-extensions", b"sec-websocket-x", b"host", b"cookie",
])  # fmt: skip
VALUES = (
    # Characters that httptools accepts in a value.
    st.binary(max_size=30).map(
        lambda value: bytes(b for b in value if b >= 32 and b != 127).strip()
    )
    | st.sampled_from([b"websocket", b"Upgrade, x", b"13", b"dcf.v1, x", b"x" * 9000])
    | st.just(base64.b64encode(bytes(16)))
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=8) | st.just([(b"sec-websocket-x", b"")] * 200),
    st.booleans(),
    st.sampled_from(["GET", "POST", "CONNECT"]),
)
def test_a_handshake_is_accepted_or_rejected_with_a_reason(more, whole, method):
    headers = (HEADERS if whole else []) + more
    protocol = ServerProtocol(select_subprotocol=ws_handshake.select, max_size=LARGEST)
    answer: Response | BadRequest
    try:
        answer = ws_handshake.accept(protocol, method, headers)
    except BadRequest as error:
        answer = error
    if isinstance(answer, BadRequest):
        assert not str(answer).endswith("None")
    else:
        assert answer.headers.get("Sec-WebSocket-Protocol") in {None, "dcf.v1"}
        protocol.send_response(answer)


# Bodies

LINES = st.lists(
    st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"a", b"{}", b"x" * 9]) | st.binary(max_size=4),
    max_size=20,
).map(b"".join)


def taken(pieces: list[bytes], longest: int) -> list[bytes] | type[BodyTooLarge]:
    lines, result = LineDecoder(longest), list[bytes]()
    try:
        for piece in pieces:
            result += lines.take(piece)
            assert sum(map(len, lines._parts)) <= longest
    except BodyTooLarge:
        return BodyTooLarge
    return result + lines.rest()


@given(LINES, PLACES, st.integers(1, 20))
def test_lines_of_a_body_do_not_depend_on_how_they_are_split(data, places, longest):
    lines = data.split(b"\n")
    if max(map(len, lines)) > longest:
        expected: object = BodyTooLarge
    else:
        expected = [line for line in (line.strip(b" \t\r") for line in lines) if line]
    assert taken([data], longest) == expected
    assert taken(split(data, places), longest) == expected


@given(LINES, PLACES)
def test_chunks_of_a_body_lose_nothing(data, places):
    chunks = ChunkDecoder()
    result = [part for piece in split(data, places) for part in chunks.take(piece)] + chunks.rest()
    assert b"".join(result) == data
    assert all(result)


def test_a_line_without_an_end_is_not_kept_beyond_its_limit():
    lines = LineDecoder(10)
    for _ in range(10):
        assert lines.take(b"x") == []
    with pytest.raises(BodyTooLarge):
        lines.take(b"x")
