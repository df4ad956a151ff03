"""What the client reads: replies, lines of replies, streams. Both clients agree on the
same bytes."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import h11
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from dcf.client.address import Address, parse
from dcf.client.async_network import AsyncNetwork
from dcf.client.async_websocket import AsyncWebSocket
from dcf.client.http11 import MAX_HEAD, Http11Protocol, head_of
from dcf.client.network import Network
from dcf.client.pool import HttpConnection
from dcf.client.response import lines_of
from dcf.client.sync_network import SyncNetwork, iterate, run
from dcf.client.sync_websocket import SyncWebSocket
from dcf.client.timeout import Timeout
from dcf.client.ws_protocol import Item, StreamProtocol
from dcf.errors import AnswerInvalid, BadRequest, DcfError, GatewayUnreachable
from dcf.protocol.stream import END, SUBPROTOCOL, StreamFailure, failure_control
from property.kit import DEEP, JSON, PLACES, TEXTS, split

# Lines

PIECES = st.lists(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b""]), max_size=5).map(b"".join), max_size=8
)


@given(PIECES)
def test_both_clients_read_the_same_lines_however_they_are_split(pieces):
    async def slowly() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def drained() -> list[bytes]:
        return [line async for line in lines_of(slowly())]

    whole = b"".join(pieces).split(b"\n")[:-1]
    found = list(iterate(lines_of(slowly())))
    assert found == [line for line in whole if line]
    assert asyncio.run(drained()) == found


# Requests


@given(
    st.sampled_from(["GET", "POST", "PUT"]) | TEXTS,
    st.just("/function/f") | TEXTS,
    st.lists(st.tuples(st.sampled_from(["x-a", "content-length"]) | TEXTS, TEXTS), max_size=3),
)
def test_a_request_is_written_or_rejected(method, target, headers):
    exchange = Http11Protocol()
    try:
        data = exchange.head(method, target, [("host", "x"), *headers])
    except BadRequest:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method.decode(), request.target.decode()) == (method, target)


@given(TEXTS | st.from_regex(r"(https?://)?[a-z0-9.\[\]:-]{0,12}(:[0-9]{0,6})?/?"))
def test_an_address_is_valid_or_rejected(text):
    try:
        address = parse(text)
    except GatewayUnreachable:
        return
    assert isinstance(address, Address)
    assert address.socket or 0 < address.port < 65536


# Replies

FIELDS = st.lists(
    st.sampled_from(
        [b"X-A: 1", b"x-a: 2", b"Server-Timing: queue;dur=1", b"B: \xff", b"Bad", b"C:", b"D: \x00"]
    ),
    max_size=4,
)
BODIES = st.one_of(
    st.binary(max_size=40).map(lambda body: b"content-length: %d\r\n\r\n%b" % (len(body), body)),
    st.lists(st.binary(min_size=1, max_size=9), max_size=3).map(
        lambda parts: (
            b"transfer-encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            + b"0\r\n\r\n"
        )
    ),
    st.binary(max_size=40).map(b"connection: close\r\n\r\n".__add__),
)
REPLIES = st.builds(
    lambda before, status, fields, body: (
        before + b"\r\n".join((b"HTTP/1.1 %d X" % status, *fields, body))
    ),
    st.sampled_from(
        [b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\na: b\r\n\r\n"]
    ),
    st.sampled_from([101, 200, 204, 302, 404, 503, 99]),
    FIELDS,
    BODIES,
)


@st.composite
def damaged(draw: Callable[..., int], whole: st.SearchStrategy[bytes]) -> bytes:
    """Return bytes that end early, or of which some are changed or added."""
    data: bytes = draw(whole)  # type: ignore[assignment]
    place = draw(st.integers(0, len(data)))
    match draw(st.integers(0, 3)):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        case 2:
            return data[:place] + bytes([draw(st.integers(0, 255))]) + data[place:]
        case _:
            return data


ANSWERS = (
    damaged(REPLIES)
    | st.binary(max_size=40)
    | st.just(b"HTTP/1.1 200 X\r\n" + b"a: b\r\n" * 60_000)
)


def exchanged(pieces: list[bytes]) -> tuple[object, ...]:
    """Return status, headers, body, and how it ended."""
    exchange, body, head = Http11Protocol(), b"", None
    exchange.head("GET", "/", [("host", "x")])
    exchange.end()
    left = iter([*filter(None, pieces), b""])
    try:
        while True:
            while (event := exchange.event()) is None:
                exchange.feed(next(left))
                assert len(exchange._h11._receive_buffer) <= MAX_HEAD + max(
                    map(len, pieces), default=0
                )
            match event:
                case h11.Response():
                    head = head_of(event)
                case h11.Data():
                    body += event.data
                case _:
                    return head, body, "end"
    except (AnswerInvalid, ConnectionResetError) as error:
        return head, body if head else b"", type(error)


@given(ANSWERS, PLACES)
def test_a_reply_does_not_depend_on_how_it_is_split(data, places):
    at_once, in_pieces = exchanged([data]), exchanged(split(data, places))
    assert in_pieces[0] == at_once[0]
    assert in_pieces[2] == at_once[2]
    if at_once[2] == "end":
        assert in_pieces[1] == at_once[1]


# Streams


def hello(exchange: StreamProtocol) -> bytes:
    """Return the server's answer to a handshake."""
    server = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
    server.receive_data(exchange.data_to_send())
    [request] = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    return b"".join(server.data_to_send())


MOST = 100
PAYLOADS = st.one_of(
    st.binary(max_size=MOST + 2),
    st.sampled_from(
        [
            END.encode(),
            b'{"dcf":',
            b'{"dcf": "error", "problem": {"error": "HandlerRaised", "retry_after": 1e999}}',
            failure_control(StreamFailure(BadRequest("no"), final=False)).encode(),
            b"\x03\xe8",
            b"\x03\xf3late",
            b"\x11\x98",
        ]
    ),
    st.builds(
        lambda value: (
            b'{"dcf": "error", "problem": ' + __import__("json").dumps(value).encode() + b"}"
        ),
        st.dictionaries(TEXTS, JSON, max_size=2),
    ),
    DEEP.map(lambda data: b'{"dcf":' + data[:60]),
)
FRAMES = st.builds(
    Frame,
    st.sampled_from(
        [Opcode.TEXT, Opcode.BINARY, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.CLOSE]
    ),
    PAYLOADS,
    fin=st.sampled_from([True, True, False]),
)


def written(frame: Frame) -> bytes:
    size = len(frame.data)
    first = bytes([frame.fin << 7 | frame.opcode])
    return (
        first
        + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big"))
        + bytes(frame.data)
    )


SPOKEN = damaged(st.lists(FRAMES, max_size=6).map(lambda frames: b"".join(map(written, frames))))


def shown(items: list[Item]) -> list[object]:
    return [
        item if isinstance(item, bytes) else (type(item.error), str(item.error)) for item in items
    ]


def spoken(data: bytes, places: list[int], *, opened: bool = True) -> tuple[object, ...]:
    """Return the replies, whether and why it ended, and the error."""
    exchange, items = StreamProtocol("/function/f", [("host", "x")], max_message=MOST), list[Item]()
    answer = hello(exchange) if opened else b""
    raised: object = None
    try:
        for piece in [*filter(None, split(answer + data, places)), b""]:
            items += exchange.feed(piece)
            exchange.data_to_send()
            assert sum(map(len, exchange._parts)) <= MOST
    except DcfError as error:
        raised = type(error)
    why = exchange.error
    return (
        shown(items),
        exchange.has_opened,
        exchange.is_over,
        why and (type(why), str(why)),
        raised,
    )


@given(SPOKEN, PLACES)
def test_a_stream_does_not_depend_on_how_it_is_split(data, places):
    found = spoken(data, [])
    assert spoken(data, places) == found
    assert found[1] is True
    assert found[2] is True, "the connection was closed"
    assert found[4] is None, "once it has begun, an error is the stream's end"


@given(ANSWERS, PLACES)
def test_an_answer_without_a_stream_is_rejected_however_it_is_split(data, places):
    assume(b" 101 " not in data)
    found = spoken(data, [], opened=False)
    assert found[4] is not None
    assert spoken(data, places, opened=False) == found


# Both clients, on real sockets


class Server:
    """Sends the same bytes to every client that has sent the head of a request, and closes."""

    def __init__(self, folder: Path) -> None:
        self.address = parse(f"unix:{folder / 's'}")
        self.data: Callable[[bytes], list[bytes]] = lambda _: []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address.socket)
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            with connected:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (data := connected.recv(65536)):
                        break
                    head += data
                if head == b"":
                    return
                try:
                    for piece in self.data(head):
                        connected.sendall(piece)
                    connected.shutdown(socket.SHUT_WR)
                    while connected.recv(65536):
                        pass
                except OSError:
                    continue

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.address.socket)
        self._thread.join()
        self._listener.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        made = Server(Path(folder))
        yield made
        made.close()


async def fetched(network: Network, address: Address) -> tuple[object, ...]:
    timeout, head, body = Timeout(total=20), None, b""
    connection = await HttpConnection.open(network, address, timeout)
    try:
        head = await connection.request("GET", "/", [("host", "x")], b"", timeout)
        while chunk := await connection.read(timeout):
            body += chunk
    except (AnswerInvalid, ConnectionResetError) as error:
        return head, type(error)
    finally:
        connection.close()
        await network.sleep(0)
    return head, body


@settings(max_examples=60)
@given(data=damaged(REPLIES), places=PLACES)
def test_both_clients_read_the_same_reply(server, data, places):
    server.data = lambda _: split(data, places)
    found = run(fetched(SyncNetwork(), server.address))
    assert asyncio.run(fetched(AsyncNetwork(), server.address)) == found


def answered(request: bytes) -> bytes:
    """Return a server's answer to the request for a stream."""
    protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
    protocol.receive_data(request)
    [event] = protocol.events_received()
    assert isinstance(event, Request)
    protocol.send_response(protocol.accept(event))
    return b"".join(protocol.data_to_send())


def listened(address: Address) -> tuple[object, ...]:
    items: list[Item] = []
    stream = SyncWebSocket(address, "/function/f", [("host", "x")], Timeout(total=20))
    try:
        while found := stream.receive(Timeout(total=20)):
            items += found
    except DcfError as error:
        return shown(items), type(error), str(error)
    finally:
        stream.close()
    return shown(items), None


async def heard(address: Address) -> tuple[object, ...]:
    items: list[Item] = []
    stream = await AsyncWebSocket.open(address, "/function/f", [("host", "x")], Timeout(total=20))
    try:
        while found := await stream.receive(Timeout(total=20)):
            items += found
    except DcfError as error:
        return shown(items), type(error), str(error)
    finally:
        stream.abort()
        await stream.wait_closed()
    return shown(items), None


@settings(max_examples=60)
@given(data=SPOKEN, places=PLACES)
def test_both_clients_read_the_same_stream(server, data, places):
    server.data = lambda head: split(answered(head) + data, places)
    found = listened(server.address)
    assert asyncio.run(heard(server.address)) == found
