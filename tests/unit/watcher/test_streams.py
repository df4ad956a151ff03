"""The parts of streams, one by one."""

import asyncio
import json
import os
import threading
import time
import tracemalloc

import pytest
from websockets.protocol import State
from websockets.server import ServerProtocol

from dcf.errors import BadRequest, BodyTooLarge, HandlerRaised, UnsupportedReply
from dcf.function.reply import Encoded, MessageKind, Reply, encode_message
from dcf.function.request import Request
from dcf.protocol.stream import EVENTS, JSON_LINES, StreamFailure, accepted_format
from dcf.watcher.execution import message_adapter
from dcf.watcher.execution.request_stream import RequestStream
from dcf.watcher.execution.response_stream import AHEAD
from dcf.watcher.http.body_decoders import ChunkDecoder
from dcf.watcher.http.body_decoders import LineDecoder as LinesOfBody
from dcf.watcher.http.stream_encoders import (
    JsonLinesEncoder,
    RawEncoder,
    SseEncoder,
    WebSocketEncoder,
    choose,
)
from dcf.watcher.http.ws_frames import BINARY, TEXT, WebSocketFrameReader, frame

FAILURE = StreamFailure(HandlerRaised("lost", "OSError", "Traceback"))


def _inbox(loop: asyncio.AbstractEventLoop, marks: list[str]) -> RequestStream:
    return RequestStream(
        loop,
        on_room=lambda: marks.append("room"),
        on_wait=lambda: marks.append("wait"),
        on_work=lambda: marks.append("work"),
    )


def test_a_plain_reader_gets_all_messages_in_order():
    marks: list[str] = []
    found: list[bytes] = []

    async def check() -> None:
        inbox = _inbox(asyncio.get_running_loop(), marks)
        reader = threading.Thread(target=lambda: found.extend(inbox))
        reader.start()
        for number in range(1000):
            inbox.put([b"%d" % number, b""])
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        inbox.end()
        await asyncio.to_thread(reader.join, 5)

    asyncio.run(check())
    assert found[::2] == [b"%d" % number for number in range(1000)]
    assert "wait" in marks
    assert marks[-1] == "work"


def test_an_async_reader_gets_all_messages_in_order():
    async def check() -> list[bytes]:
        inbox = _inbox(asyncio.get_running_loop(), [])

        async def read() -> list[bytes]:
            return [message async for message in inbox]

        # On a loop of its own, as an async handler.
        reading = asyncio.create_task(asyncio.to_thread(asyncio.run, read()))
        for number in range(1000):
            inbox.put([b"%d" % number])
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        inbox.end()
        return await reading

    assert asyncio.run(check()) == [b"%d" % number for number in range(1000)]


def test_an_inbox_that_is_full_says_when_it_has_room():
    marks: list[str] = []

    async def check() -> None:
        inbox = _inbox(asyncio.get_running_loop(), marks)
        assert inbox.put([bytes(AHEAD // 2)])
        assert not inbox.put([bytes(AHEAD // 2), b"", b""])
        await asyncio.to_thread(next, inbox)
        await asyncio.sleep(0)
        assert "room" not in marks
        await asyncio.to_thread(next, inbox)
        await asyncio.sleep(0.01)
        assert marks.count("room") == 1
        # Empty messages take room as well.
        count = 1
        while inbox.put([b""]):
            count += 1
        assert count <= AHEAD // 64

    asyncio.run(check())


def test_an_inbox_that_is_given_up_ends_its_readers():
    raised: list[BaseException] = []

    async def check() -> None:
        loop = asyncio.get_running_loop()
        plain, other = _inbox(loop, []), _inbox(loop, [])

        def read() -> None:
            try:
                list(plain)
            except GeneratorExit as error:
                raised.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        waiting = asyncio.create_task(other.__anext__())
        await asyncio.sleep(0.02)
        plain.abandon()
        other.abandon()
        await asyncio.to_thread(reader.join, 5)
        await asyncio.wait([waiting], timeout=5)
        assert waiting.cancelled()
        assert plain.put([b"late"])
        with pytest.raises(GeneratorExit):
            next(plain)

    asyncio.run(check())
    assert len(raised) == 1


def test_an_async_handler_is_told_how_to_read():
    async def check() -> None:
        with pytest.raises(TypeError, match="`async for`"):
            iter(_inbox(asyncio.get_running_loop(), []))

    asyncio.run(check())


def _masked(first: int, data: bytes) -> bytes:
    mask = os.urandom(4)
    mixed = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    plain = frame(first & 0x7F, data) if first & 0x7F in (TEXT, BINARY) else None
    head = bytearray(plain[: len(plain) - len(data)] if plain else (first, len(data)))
    head[0], head[1] = first, head[1] | 0x80
    return bytes(head) + mask + mixed


def test_a_frame_reader_finds_the_same_however_the_bytes_are_cut():
    messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536]
    sent = b"".join(_masked(0x82, message) for message in messages)
    sent += _masked(0x01, b"in ") + _masked(0x89, b"ping") + _masked(0x80, b"parts")
    wanted = [(False, message) for message in messages] + [(True, b"in parts")]
    for size in (1, 5, 1000, 65541, len(sent)):
        protocol = ServerProtocol(state=State.OPEN, max_size=70_000)
        reader = WebSocketFrameReader(protocol, 70_000)
        found = []
        for begin in range(0, len(sent), size):
            found += reader.feed(sent[begin : begin + size])
        assert found == wanted
        assert protocol.data_to_send() == [b"\x8a\x04ping"]


def test_a_message_in_parts_is_no_larger_than_another():
    protocol = ServerProtocol(state=State.OPEN, max_size=100)
    reader = WebSocketFrameReader(protocol, 100)
    assert reader.feed(_masked(0x02, bytes(60)) + _masked(0x80, bytes(60))) == []
    assert protocol.state is not State.OPEN
    assert reader.feed(_masked(0x82, b"more")) == []


@pytest.mark.parametrize("part", [b"", b"ab"])
def test_a_message_in_many_parts_takes_no_more_memory_than_its_bytes(part):
    protocol = ServerProtocol(state=State.OPEN, max_size=70_000)
    reader = WebSocketFrameReader(protocol, 70_000)
    assert reader.feed(_masked(0x02, b"")) == []
    more = _masked(0x00, part) * 200
    tracemalloc.start()
    try:
        for _ in range(50):
            assert reader.feed(more) == []
        assert tracemalloc.get_traced_memory()[0] < 150_000
    finally:
        tracemalloc.stop()
    assert reader.feed(_masked(0x80, b"")) == [(False, part * 10_000)]


def test_a_part_that_exceeds_the_message_is_refused_before_it_is_here():
    protocol = ServerProtocol(state=State.OPEN, max_size=100)
    reader = WebSocketFrameReader(protocol, 100)
    assert reader.feed(_masked(0x02, bytes(60)) + _masked(0x80, bytes(60))[:20]) == []
    assert protocol.state is not State.OPEN


@pytest.mark.parametrize("frame", [b"\x89\xfe\x00\x7e", b"\x09\x81", b"\xc9\x81"])
def test_a_ping_that_breaks_the_rules_ends_the_stream(frame):
    protocol = ServerProtocol(state=State.OPEN, max_size=1000)
    assert WebSocketFrameReader(protocol, 1000).feed(frame + bytes(140)) == []
    assert protocol.state is not State.OPEN


@pytest.mark.parametrize(
    ("value", "line", "event", "opcode"),
    [
        ({"a": "é"}, '{"a": "é"}', 'data: {"a": "é"}', TEXT),
        ("x\ny\r\nz\rw", '"x\\ny\\r\\nz\\rw"', "data: x\ndata: y\ndata: z\ndata: w", TEXT),
        ("", '""', "data: ", TEXT),
        ("\udcff", '{"base64": "/w=="}', 'data: {"base64": "/w=="}', BINARY),
        (b"text", '"text"', "data: text", BINARY),
        (b"\xff", '{"base64": "/w=="}', 'data: {"base64": "/w=="}', BINARY),
        (Reply({"a": 1}, status=201), '{"a": 1}', 'data: {"a": 1}', TEXT),
        ('{"dcf": "end"}', '"{\\"dcf\\": \\"end\\"}"', 'data: {"dcf": "end"}', BINARY),
    ],
)
def test_a_message_in_each_form(value, line, event, opcode):
    assert JsonLinesEncoder().message(value) == line.encode() + b"\n"
    assert SseEncoder().message(value) == event.encode() + b"\n\n"
    assert WebSocketEncoder(words=True).message(value)[0] == 0x80 | opcode


def test_an_error_in_each_form():
    problem = json.loads(JsonLinesEncoder().failure(FAILURE, "id"))["error"]
    assert (problem["detail"], problem["request_id"]) == ("lost", "id")
    assert SseEncoder().failure(FAILURE, "id").startswith(b'event: error\ndata: {"type"')
    assert b'"final": true' in WebSocketEncoder(words=True).failure(FAILURE, "id")
    assert (
        WebSocketEncoder(words=False).failure(FAILURE, "id")
        == RawEncoder().failure(FAILURE, "id")
        == b""
    )


def test_a_stream_is_no_message():
    with pytest.raises(UnsupportedReply, match="expected one message of a stream, got a generator"):
        encode_message(iter(()))
    assert encode_message(bytearray(b"a")) == (b"a", MessageKind.BINARY)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", None),
        ("*/*", None),
        ("text/event-stream", EVENTS),
        ("text/html, Application/JSONL ; q=1, text/event-stream", JSON_LINES),
        ("application/json", None),
    ],
)
def test_the_form_that_is_asked_for(accept, form):
    assert accepted_format(accept) == form
    reply = Encoded(b"", b"application/octet-stream")
    choose(Request(headers=[(b"accept", accept.encode())]), reply)
    assert reply.content_type == (form or "application/octet-stream").encode()


def test_an_author_who_names_a_type_has_chosen_the_form():
    reply = Encoded(b"", b"text/csv")
    assert isinstance(choose(Request(headers=[(b"accept", EVENTS.encode())]), reply), RawEncoder)
    assert reply == Encoded(b"", b"text/csv")


def test_a_body_in_lines():
    body = LinesOfBody(10)
    assert body.take(b'{"a"') == []
    assert body.take(b": 1}\r\n\n2\n") == [b'{"a": 1}', b"2"]
    assert body.take(b"3") == []
    assert (body.rest(), LinesOfBody(10).rest()) == ([b"3"], [])
    with pytest.raises(BodyTooLarge):
        LinesOfBody(10).take(b"x" * 11 + b"\n")
    long = LinesOfBody(10)
    long.take(b"x" * 10)
    with pytest.raises(BodyTooLarge):
        long.take(b"x")
    assert (ChunkDecoder().take(b"a"), ChunkDecoder().take(b""), ChunkDecoder().rest()) == (
        [b"a"],
        [],
        [],
    )


def test_a_plain_handler_for_each_message():
    def handler(req: Request) -> object:
        match req.input:
            case b"bad":
                raise BadRequest("no")
            case b"items":
                return Reply(iter("ab"))
        return Reply(req.text, status=201)

    found = list(message_adapter.plain(handler)(Request(stream=[b"x", b"bad", b"items"])))
    assert (found[0], found[2:]) == ("x", ["a", "b"])
    assert (str(found[1].error), found[1].final) == ("no", False)


def test_an_async_handler_for_each_message():
    closed = []

    async def items():
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(time.monotonic())

    async def handler(req: Request) -> object:
        if req.input == b"bad":
            raise BadRequest("no")
        return items() if req.input == b"items" else req.text

    async def check() -> list[object]:
        request = Request(stream=[b"x", b"bad", b"items"])
        return [one async for one in message_adapter.asynchronous(handler)(request)]

    found = asyncio.run(check())
    assert (found[0], found[2:], len(closed)) == ("x", ["a", "b"], 1)
