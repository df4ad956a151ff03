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
"""Bytes of the largest message here: a frame of each of the first two forms fits."""

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
    """As :meth:`Frame.serialize`, which refuses what breaks the rules."""
    first = sent.fin << 7 | sent.rsv1 << 6 | sent.opcode
    size = len(sent.data)
    masked = 0x80 * mask
    head = bytes([first, masked | size]) if size < 126 else bytes([first, masked | 126])
    head += b"" if size < 126 else size.to_bytes(2, "big")
    return head + (bytes(4) if mask else b"") + bytes(sent.data)


def by_library(pieces: list[bytes]) -> tuple[list[tuple[bool, bytes]], ServerProtocol]:
    """What the library alone makes of the same bytes."""
    protocol, found = opened(), list[tuple[bool, bytes]]()
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
                    found.append((text, b"".join(parts)))
                    parts = []
    return found, protocol


def by_reader(pieces: list[bytes]) -> tuple[list[tuple[bool, bytes]], ServerProtocol]:
    protocol = opened()
    reader, found = WebSocketFrameReader(protocol, LARGEST), list[tuple[bool, bytes]]()
    for piece in pieces:
        found += reader.feed(piece)
        assert len(reader._left) <= LARGEST + 14
    return found, protocol


def told(protocol: ServerProtocol) -> tuple[object, object]:
    """The state and the kind of error that a client has brought about."""
    return protocol.state, type(protocol.parser_exc)


@given(st.lists(FRAMES, max_size=6), PLACES)
def test_frames_are_the_messages_that_the_library_reads_however_they_are_split(frames, places):
    data = b"".join(map(serialized, frames))
    expected, library = by_library([data])
    for pieces in ([data], split(data, places)):
        found, protocol = by_reader(pieces)
        assert (found, told(protocol)) == (expected, told(library))


@st.composite
def damaged(draw: Callable[..., int], sent: list[Frame]) -> bytes:
    """Frames of which one byte is another one."""
    data = bytearray(b"".join(map(serialized, sent)) or b"\0")
    data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(
    st.binary(max_size=60) | st.lists(FRAMES, max_size=3).flatmap(damaged),
    PLACES,
)
def test_bytes_that_are_no_frames_end_the_connection_as_the_library_ends_it(data, places):
    expected, library = by_library([data])
    for pieces in ([data], split(data, places)):
        found, protocol = by_reader(pieces)
        assert found == expected
        # The library tells from a frame's head, the reader from the whole frame.
        assert told(protocol) == told(library) or protocol.state is State.OPEN


@given(st.integers(LARGEST + 1, 2**63 - 1), PLACES)
def test_a_frame_that_is_too_large_is_refused_by_its_head(size, places):
    head = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4)
    if size < 65536:
        head = b"\x82\xfe" + size.to_bytes(2, "big") + bytes(4)
    found, protocol = by_reader(split(head, places))
    assert found == []
    assert isinstance(protocol.parser_exc, PayloadTooBig)


@given(
    st.sampled_from([TEXT, BINARY]),
    st.binary(max_size=200) | st.sampled_from([bytes(65535), bytes(65536)]),
)
def test_a_frame_that_is_written_is_read_back(opcode, data):
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
    # What httptools lets pass in a value.
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
def test_a_handshake_is_accepted_or_refused_with_a_reason(more, whole, method):
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
    lines, found = LineDecoder(longest), list[bytes]()
    try:
        for piece in pieces:
            found += lines.take(piece)
            assert sum(map(len, lines._parts)) <= longest
    except BodyTooLarge:
        return BodyTooLarge
    return found + lines.rest()


@given(LINES, PLACES, st.integers(1, 20))
def test_lines_of_a_body_are_the_same_however_they_are_split(data, places, longest):
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
    found = [part for piece in split(data, places) for part in chunks.take(piece)] + chunks.rest()
    assert b"".join(found) == data
    assert all(found)


def test_a_line_without_an_end_is_not_kept_beyond_its_bound():
    lines = LineDecoder(10)
    for _ in range(10):
        assert lines.take(b"x") == []
    with pytest.raises(BodyTooLarge):
        lines.take(b"x")
