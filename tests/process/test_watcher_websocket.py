"""Streams on a WebSocket: messages both ways, errors, ends, bounds."""

import contextlib
import json
import socket
import struct
import time
from importlib.metadata import version

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from process.websockets_client import (
    END,
    Bare,
    closed,
    connect,
    error_word,
    headers_of,
    masked,
    rest,
)

KINDS = pytest.mark.parametrize("kind", ["", "async "])

GENERATOR = """
import asyncio, time
{kind}def Handler(req):
    path = req.path
    if path == "/echo":
        {kind}for message in req.stream:
            yield message
    elif path == "/first":
        yield req.input
        yield req.query
        yield req.headers["x-mine"]
    elif path == "/kinds":
        yield b"bytes"
        yield "text"
        yield {{"key": ["value"]}}
        yield bytearray(b"more")
        yield '{{"dcf": "end"}}'
        yield {{"dcf": 1}}
        yield "half \\udc80"
    elif path == "/sum":
        total = 0
        {kind}for message in req.stream:
            total += int(message)
        yield str(total)
    elif path == "/raise":
        yield "one"
        yield "two"
        raise OSError("lost")
    elif path == "/early":
        {kind}for message in req.stream:
            yield message
            break
    elif path == "/object":
        yield "one"
        yield object()
    elif path == "/never":
        yield b"x" * 300_000
        yield b"y" * 300_000
"""


ECHO = """
def Handler(req):
    for message in req.stream:
        yield message
"""


def generator(launch, kind, **settings):
    return launch(GENERATOR.format(kind=kind), **settings)


@KINDS
def test_a_generator_answers_a_whole_stream(launch_shared, kind):
    running = generator(launch_shared, kind)
    with connect(running, "/function/function/echo") as client:
        assert headers_of(client)["x-request-id"]
        assert headers_of(client)["server-timing"].startswith("queue;dur=")
        assert client.subprotocol == "dcf.v1"
        for message in (b"one", b"", b"\xff" * 70_000, b"y" * 300):
            client.send(message)
            assert client.recv(5) == message
        client.send("text")
        assert client.recv(5) == b"text"
        client.send(END)
        assert rest(client) == []
    with connect(running, "/first?a=1", additional_headers={"X-Mine": "z" * 9000}) as client:
        client.send(b"hello")
        assert rest(client) == [b"hello", '{"a": "1"}', "z" * 9000]
    with connect(running, "/kinds") as client:
        client.send(b"")
        assert rest(client) == [
            b"bytes", "text", '{"key": ["value"]}', b"more", b'{"dcf": "end"}', b'{"dcf": 1}',
            b"half \x80",
        ]  # fmt: skip
    with connect(running, "/sum") as client:
        for number in range(2000):
            client.send(str(number))
        client.send(END)
        assert rest(client) == [str(sum(range(2000)))]
    with connect(running, "/echo") as client:
        client.send(END)
        assert rest(client) == []


@KINDS
def test_a_stream_that_fails_ends_with_its_error(launch_shared, kind):
    running = generator(launch_shared, kind)
    with connect(running, "/raise") as client:
        client.send(b"")
        assert [client.recv(5), client.recv(5)] == ["one", "two"]
        word = error_word(client)
        assert word["final"] is True
        assert word["problem"]["error"] == "HandlerRaised"
        assert word["problem"]["request_id"] == headers_of(client)["x-request-id"]
        assert "OSError: lost" in word["problem"]["traceback"]
        assert closed(client) == (1011, "OSError: lost")
        told = f"call {headers_of(client)['x-request-id']}: Traceback"
    with connect(running, "/object") as client:
        client.send(b"")
        assert client.recv(5) == "one"
        assert error_word(client)["problem"]["error"] == "UnsupportedReply"
        assert closed(client)[0] == 1011
    assert (
        f"call {headers_of(client)['x-request-id']}: the handler's reply: expected" in running.log
    )
    assert running.log.count(told) == 1


@pytest.mark.skipif(
    int(version("websockets").partition(".")[0]) < 14,
    reason="the test's client discards messages that it has not read when a connection closes",
)
@KINDS
def test_a_handler_may_end_while_its_client_sends(launch_shared, kind):
    running = generator(launch_shared, kind)
    with connect(running, "/early") as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(50):
                client.send(b"m" * 10_000)
        assert rest(client) == [b"m" * 10_000]


@KINDS
def test_a_handler_may_end_before_its_client(launch_shared, kind):
    running = generator(launch_shared, kind)
    with connect(running, "/never") as client:
        client.send(b"go")
        assert [len(message) for message in rest(client)] == [300_000, 300_000]


@KINDS
def test_a_client_that_knows_no_words(launch_shared, kind):
    running = generator(launch_shared, kind)
    with connect(running, "/kinds", words=False) as client:
        client.send(b"")
        found = [client.recv(5) for _ in range(7)]
        assert found[4:6] == ['{"dcf": "end"}', '{"dcf": 1}']
        assert closed(client) == (1000, "")
    with connect(running, "/raise", words=False) as client:
        client.send(b"")
        assert [client.recv(5), client.recv(5)] == ["one", "two"]
        assert closed(client) == (1011, "OSError: lost")
    with connect(running, "/echo", words=False) as client:
        client.send(END)
        assert client.recv(5) == END.encode()


@KINDS
def test_any_other_handler_answers_each_message(launch, kind):
    running = launch(
        f"""
        {kind}def Handler(req):
            if req.input == b"items":
                return ({{"item": n}} for n in range(2))
            if req.input == b"raise":
                raise OSError("lost")
            return req.json()["text"]
        """
    )
    with connect(running) as client:
        client.send('{"text": "a"}')
        client.send(b"no json")
        client.send("items")
        client.send('{"text": "b"}')
        assert client.recv(5) == "a"
        word = error_word(client)
        assert (word["final"], word["problem"]["error"]) == (False, "BadRequest")
        assert [client.recv(5) for _ in range(3)] == ['{"item": 0}', '{"item": 1}', "b"]
        client.send("raise")
        assert error_word(client)["problem"]["detail"] == "OSError: lost"
        assert closed(client)[0] == 1011
    with connect(running, words=False) as client:
        client.send(b"no json")
        assert closed(client)[0] == 4400
    with connect(running) as client:
        client.send(END)
        assert rest(client) == []


@KINDS
def test_what_a_client_gets_wrong_is_told(launch, kind):
    running = generator(launch, kind, max_message=1000)
    with connect(running, "/echo") as client:
        client.send(b"x" * 1000)
        client.recv(5)
        client.send(b"x" * 1001)
        assert error_word(client)["problem"]["error"] == "BodyTooLarge"
        assert closed(client)[0] == 1009
    with connect(running, "/echo") as client:
        client.send('{"dcf": "what"}')
        assert (
            'expected {"dcf": "end"} or an error after {"dcf": in a text message'
            in error_word(client)["problem"]["detail"]
        )
        assert closed(client)[0] == 4400
    with connect(running, "/sum") as client:
        client.send(b"1")
        client.send('{"dcf": "error", "problem": {"detail": "changed my mind"}}')
        assert "changed my mind" in error_word(client)["problem"]["detail"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(masked(0x82, b"x" * 1001), 1009), (masked(0x81, b"\xff"), 1007)],
    ids=["too large", "no UTF-8"],
)
def test_what_comes_behind_a_broken_rule_is_read_and_left(launch, wrong, code):
    """A connection that breaks while a client sends takes from it what it has not read yet."""
    running = generator(launch, "", max_message=1000)
    with Bare(running) as client:
        client.upgrade(path="/echo")
        client.socket.sendall(wrong)
        assert struct.pack("!H", code) in client.all()
        for _ in range(3):
            client.socket.sendall(wrong)
            time.sleep(0.05)
    assert "Traceback" not in running.log


def test_a_client_that_is_refused_gets_a_problem_document(launch):
    running = launch(ECHO, queue=0, concurrency=1)
    for path, status, kind in (
        ("/function/other", 404, "FunctionNotFound"),
        ("/-/ready", 404, "PathUnknown"),
    ):
        with pytest.raises(InvalidStatus) as found, connect(running, path):
            pass
        assert found.value.response.status_code == status
        assert json.loads(found.value.response.body)["error"] == kind
    with connect(running) as first:
        first.send(b"a")
        first.recv(5)
        with pytest.raises(InvalidStatus) as found, connect(running):
            pass
        assert found.value.response.status_code == 503
        assert found.value.response.headers["retry-after"] == "1"
        assert json.loads(found.value.response.body)["error"] == "Overloaded"
    with Bare(running) as bare:
        bare.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert b"invalid WebSocket handshake" in bare.all()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # the place is free again
        with contextlib.suppress(InvalidStatus), connect(running) as client:
            client.send(b"a")
            assert client.recv(5) == b"a"
            break


def test_frames_may_come_in_any_pieces(launch_shared):
    running = launch_shared(ECHO)
    whole = (
        masked(0x82, b"one") + masked(0x89, b"ping") + masked(0x81, "zwö".encode())
        + masked(0x01, b"th") + masked(0x89, b"") + masked(0x00, b"r") + masked(0x80, b"ee")
        + masked(0x82, b"f" * 130)
    )  # fmt: skip
    for size in (1, 3, 7, len(whole)):
        with Bare(running) as bare:
            assert bare.upgrade().startswith(b"HTTP/1.1 101 ")
            for begin in range(0, len(whole), size):
                bare.socket.sendall(whole[begin : begin + size])
                if size > 1:
                    time.sleep(0.001)
            answers = bare.exactly(2 + 3 + 2 + 4 + 2 + 4 + 2 + 0 + 2 + 5 + 4 + 130)
        for part in (b"\x8a\x04ping", b"\x8a\x00", b"\x82\x03one", b"\x82\x05three"):
            assert part in answers
        assert answers.index(b"\x82\x03one") < answers.index(b"\x82\x05three")
        assert answers.endswith(b"f" * 130)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x82\x01x", 1002),  # no mask
        (masked(0x83, b"x"), 1002),  # no such kind
        (masked(0xC2, b"x"), 1002),  # an extension that was not agreed on
        (masked(0x80, b"x"), 1002),  # the rest of nothing
        (masked(0x81, b"\xff"), 1007),
    ],
    ids=["no-mask", "no-such-kind", "extension", "rest-of-nothing", "no-text"],
)
def test_what_breaks_the_protocol_closes_it(launch_shared, sent, code):
    running = launch_shared(ECHO)
    with Bare(running) as bare:
        bare.upgrade()
        bare.socket.sendall(sent)
        ((first, data),) = bare.frames(1)
        assert (first, struct.unpack("!H", data[:2])[0]) == (0x88, code)
    assert running.call(b"still here") == b"still here"


GONE = """
import asyncio, pathlib, time
{kind}def Handler(req):
    if req.path == "/alive":
        yield "alive"
        return
    try:
        {kind}for message in req.stream:
            yield message
            while req.path == "/yielding":
                {sleep}(0.01)
                yield "more"
    finally:
        {clean_up}
        pathlib.Path(req.query["mark"]).write_text(str(req.cancelled))
"""


@KINDS
@pytest.mark.parametrize("how", ["close", "vanish"])
@pytest.mark.parametrize("where", ["reading", "yielding"])
def test_a_handler_whose_client_is_gone_is_ended(launch_shared, kind, how, where, tmp_path):
    mark = tmp_path / "ended"
    sleep = "await asyncio.sleep" if kind else "time.sleep"
    clean_up = f"{sleep}(0.05)"
    running = launch_shared(GONE.format(kind=kind, sleep=sleep, clean_up=clean_up), concurrency=1)
    with connect(running, f"/{where}?mark={mark}") as client:
        client.send(b"m")
        assert client.recv(5) == b"m"
        if how == "close":
            client.close()
        else:
            client.socket.shutdown(socket.SHUT_RDWR)
        assert running.call(path="/alive") == b"alive"
        assert mark.read_text() == "True"
    assert "Traceback" not in running.log


def test_an_async_handler_is_cancelled_wherever_it_waits(launch, tmp_path):
    mark = tmp_path / "ended"
    running = launch(
        f"""
        import asyncio, pathlib
        async def Handler(req):
            try:
                yield "begun"
                await asyncio.sleep(60)
            finally:
                pathlib.Path({str(mark)!r}).touch()
        """
    )
    with connect(running) as client:
        client.send(b"")
        assert client.recv(5) == "begun"
    _wait_for(mark.exists)


def _wait_for(condition) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
