"""Streams of both clients, against a server that does what servers do at their worst."""

import asyncio
import gc
import itertools
import threading
import time

import pytest
from websockets.frames import Opcode

from dcf import errors
from dcf.client import ws_protocol
from dcf.client.async_client import AsyncClient
from dcf.client.client import Client
from dcf.protocol.stream import END
from unit.client.speaker import Speaker, frames


def _echo(peer) -> None:
    speaker = Speaker(peer)
    for message in speaker.messages():
        speaker.send(message)
    speaker.end()


def _until(holds) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


# Messages and replies


def test_what_can_be_a_message(client, server):
    got: list[bytes | str] = []

    def conversation(peer):
        speaker = Speaker(peer)
        got.extend(speaker.messages())
        speaker.end()

    server.play(conversation)
    word = '{"dcf": "end"}'
    given = [b"\x00", bytearray(b"a"), memoryview(b"b"), "é", {"é": 1}, [1], b"", "", word]
    assert list(client.stream("hello", [*given, {"dcf": "x"}])) == []
    assert got == [
        b"\x00", b"a", b"b", "é", '{"é": 1}', "[1]", b"", "", word.encode(), b'{"dcf": "x"}'
    ]  # fmt: skip


def test_replies_are_bytes_whatever_they_are_sent_as(client, server):
    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"\x00", "é", b"", '{"a": 1}', b'{"dcf": "end"}', b"x" * 3_000_000)
        speaker.send_in_parts("one", "", " message")
        speaker.send_in_parts(b"two", b" parts")
        speaker.end()

    server.play(conversation)
    assert list(client.stream("hello", [])) == [
        b"\x00", "é".encode(), b"", b'{"a": 1}', b'{"dcf": "end"}', b"x" * 3_000_000,
        b"one message", b"two parts",
    ]  # fmt: skip


@pytest.mark.parametrize("many", [list, iter], ids=["list", "iterator"])
def test_many_messages_keep_their_order(client, server, many):
    server.play(_echo)
    messages = [str(number).encode() for number in range(3000)]
    assert list(client.stream("echo", many(messages))) == messages


def test_large_messages_go_both_ways_at_once(client, server):
    server.play(_echo)
    messages = [bytes([number]) * 2_000_000 for number in range(8)]
    assert list(client.stream("echo", messages)) == messages


def test_messages_and_replies_overlap(server):
    server.play(_echo)
    answered = threading.Semaphore(0)

    def messages():
        for number in range(3):
            yield str(number)
            assert answered.acquire(timeout=5)

    with Client(server.url) as client:
        got = []
        for reply in client.stream("echo", messages()):
            got.append(reply)
            answered.release()
    assert got == [b"0", b"1", b"2"]


def test_replies_may_come_after_the_last_message(client, server):
    def conversation(peer):
        speaker = Speaker(peer)
        assert list(speaker.messages()) == [b"x"]
        speaker.send(b"a")
        speaker.send(b"b")
        speaker.end()
        assert speaker.closed is not None
        assert speaker.closed.code == 1000

    server.play(conversation)
    assert list(client.stream("hello", [b"x"])) == [b"a", b"b"]


def test_the_other_side_may_end_first(client, server):
    server.play(lambda peer: Speaker(peer).end())
    ended = threading.Event()

    def messages():
        try:
            while True:
                time.sleep(0.001)
                yield b"x"
        finally:
            ended.set()

    stream = client.stream("hello", messages())
    assert list(stream) == []
    assert next(stream, None) is None
    assert ended.wait(5)


@pytest.mark.parametrize("given", [b"x", "x", {"a": 1}])
def test_one_message_is_not_several(client, given):
    with pytest.raises(TypeError, match="expected an iterable of messages, got "):
        client.stream("hello", given)


# Errors


def test_an_error_of_one_message_is_raised_in_its_place_and_the_stream_goes_on(client, server):
    def conversation(peer):
        speaker = Speaker(peer)
        for message in speaker.messages():
            if message == b"bad":
                speaker.fail(errors.BadRequest("not JSON"), final=False)
            else:
                speaker.send(message)
        speaker.end()

    server.play(conversation, conversation)
    stream = client.stream("hello", [b"1", b"bad", b"2"])
    assert next(stream) == b"1"
    with pytest.raises(errors.BadRequest, match="not JSON"):
        next(stream)
    assert list(stream) == [b"2"]
    told: list[errors.DcfError] = []
    given = [b"bad", b"1", b"bad", b"2"]
    assert list(client.stream("hello", given, on_error=told.append)) == [b"1", b"2"]
    assert [str(error) for error in told] == ["not JSON", "not JSON"]


def test_an_error_that_ends_the_stream_comes_after_the_replies_before_it(client, server):
    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"1")
        speaker.fail(errors.HandlerRaised("ValueError: no", "ValueError", "Traceback ..."))
        speaker.close(1011)

    server.play(conversation)
    stream = client.stream("hello", itertools.repeat(b"x"))
    assert next(stream) == b"1"
    with pytest.raises(errors.HandlerRaised, match="ValueError: no") as caught:
        next(stream)
    assert (caught.value.exception, caught.value.traceback) == ("ValueError", "Traceback ...")
    assert next(stream, None) is None


@pytest.mark.parametrize(
    ("code", "reason", "kind", "says"),
    [
        (1000, "", errors.ReplicaLost, "closed before its end, with code 1000"),
        (1001, "", errors.ReplicaLost, "code 1001"),
        (1009, "too large", errors.BodyTooLarge, "too large"),
        (1011, "ValueError", errors.HandlerRaised, "ValueError"),
        (1012, "it drains", errors.ReplicaLost, "it drains"),
        (1013, "full", errors.Overloaded, "full"),
        (4504, "", errors.DeadlineExceeded, "code 4504"),
        (4999, "who knows", errors.ReplicaLost, "who knows"),
    ],
)
def test_a_close_before_the_end_is_an_error(client, server, code, reason, kind, says):
    server.play(lambda peer: Speaker(peer).close(code, reason))
    with pytest.raises(kind, match=says):
        list(client.stream("hello", []))


def test_a_connection_that_breaks_is_a_lost_replica(client, server):
    def broken(peer):
        speaker = Speaker(peer)
        speaker.send(b"1")
        speaker.event()
        peer.reset()

    def ended(peer):
        speaker = Speaker(peer)
        speaker.send(b"1")
        speaker.event()

    server.play(broken, ended)
    for _ in range(2):
        stream = client.stream("hello", [b"x"])
        assert next(stream) == b"1"
        with pytest.raises(errors.ReplicaLost, match="closed during the stream"):
            next(stream)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (frames((Opcode.TEXT, b'{"dcf": "what"}')), "an invalid control message"),
        (frames((Opcode.TEXT, b'{"dcf": \xff}')), "an invalid control message"),
        (b"\xff\xff\xff\xff", "violates the WebSocket protocol"),
        (frames((Opcode.CONT, b"x")), "violates the WebSocket protocol"),
    ],
)
def test_what_is_no_stream_is_told(client, server, data, says):
    def conversation(peer):
        speaker = Speaker(peer)
        speaker.raw(data)
        speaker.wait_for_end()

    server.play(conversation)
    with pytest.raises(errors.AnswerInvalid, match=says):
        list(client.stream("hello", []))


@pytest.mark.parametrize("many", [list, iter], ids=["list", "iterator"])
def test_what_cannot_be_a_message_ends_the_stream(client, server, many):
    server.play(_until_closed([]))
    with pytest.raises(TypeError, match="expected a message of bytes, str, dict or list, got int"):
        list(client.stream("hello", many([b"1", 2])))


def _until_closed(codes, *replies):
    def conversation(peer):
        speaker = Speaker(peer)
        for reply in replies:
            speaker.event()
            speaker.send(reply)
        while speaker.event() is not None:
            pass
        codes.append(speaker.closed and speaker.closed.code)

    return conversation


def test_what_the_messages_raise_is_raised_to_the_reader(client, server):
    codes: list[int] = []
    server.play(_until_closed(codes))

    def messages():
        yield b"1"
        raise ZeroDivisionError("mine")

    stream = client.stream("hello", messages())
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(stream)
    assert next(stream, None) is None
    _until(lambda: codes == [1001])


def test_nothing_for_too_long_is_told(face, server):
    def silent(peer):
        Speaker(peer)
        peer.stall()

    def deaf(peer):
        peer.stall()

    server.play(silent, silent, deaf)
    with face(server.url, timeout=0.05) as client, pytest.raises(errors.DeadlineExceeded):
        list(client.stream("hello", []))
    with face(server.url) as client:
        with pytest.raises(
            errors.DeadlineExceeded, match=r"the reply was not complete within 0\.1"
        ):
            list(client.stream("hello", [], timeout=0.05))
        server.released.set()
        with pytest.raises(errors.ReplicaLost):
            client.stream("hello", [], timeout=2)


# Leaving early, slow readers


def test_a_stream_that_is_closed_early_tells_the_other_side(client, server):
    codes: list[int] = []
    server.play(_until_closed(codes, b"1"))
    ended = threading.Event()

    def messages():
        try:
            while True:
                time.sleep(0.001)
                yield b"x"
        finally:
            ended.set()

    with client.stream("hello", messages()) as stream:
        assert next(stream) == b"1"
        stream.close()
        stream.close()
        assert list(stream) == []
    assert ended.wait(5)
    _until(lambda: codes == [1001])


def test_a_loop_that_is_left_ends_the_stream(client, server):
    codes: list[int] = []

    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"1", b"2")
        while speaker.event() is not None:
            pass
        codes.append(1)

    server.play(conversation)
    for reply in client.stream("hello", itertools.repeat(b"x")):
        assert reply == b"1"
        break
    gc.collect()
    # A loop that does not run takes no leave.
    getattr(client, "notice", lambda: None)()
    _until(lambda: codes == [1])


def test_leaving_does_not_wait_for_a_message_that_does_not_come(server):
    codes: list[int] = []
    server.play(_until_closed(codes))
    come = threading.Event()

    def messages():
        yield b"1"
        come.wait(5)
        yield b"2"

    with Client(server.url) as client:
        began = time.monotonic()
        client.stream("hello", messages()).close()
        assert time.monotonic() - began < 2
    _until(lambda: codes == [1001])
    come.set()


def test_a_loop_that_ends_ends_its_streams(server):
    codes: list[int] = []
    server.play(_until_closed(codes, b"1"))

    async def ask():
        client = AsyncClient(server.url, "secret")
        left = client.stream("hello", itertools.repeat(b"x"))
        assert await anext(left) == b"1"
        return left

    left = asyncio.run(ask())
    _until(lambda: codes)
    del left


def test_a_ping_is_answered_while_nobody_reads(server):
    answered = threading.Event()

    def conversation(peer):
        speaker = Speaker(peer)
        speaker.ping()
        answered.set()
        speaker.end()

    server.play(conversation)
    with Client(server.url) as client:
        stream = client.stream("hello", [])
        assert answered.wait(5)
        assert list(stream) == []


def test_who_takes_nothing_is_sent_no_more(server):
    server.play(lambda peer: (Speaker(peer), peer.stall()))
    taken = 0

    def messages():
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 100_000

    with Client(server.url) as client, client.stream("hello", messages()):
        before = -1
        while taken != before:
            before = taken
            time.sleep(0.2)
        assert taken < 200
        server.released.set()


def test_a_slow_reader_slows_the_other_side(client, server):
    sent = 0

    def conversation(peer):
        nonlocal sent
        speaker = Speaker(peer)
        peer.socket.settimeout(0.3)
        try:
            while True:
                speaker.send(b"x" * 100_000)
                sent += 1
        except TimeoutError:
            peer.socket.settimeout(20)
            server.happened.put(sent)
            peer.reset()

    server.play(conversation)
    with client.stream("hello", []) as stream:
        assert next(stream) == b"x" * 100_000
        for _ in range(50):
            getattr(client, "notice", lambda: None)()
        assert server.happened.get(timeout=5) < 200


def test_a_slow_reader_shows_that_it_lives(client, server, monkeypatch):
    monkeypatch.setattr(ws_protocol, "HEARTBEAT", 0.05)
    read, alive = threading.Event(), threading.Event()

    def conversation(peer):
        speaker = Speaker(peer)
        speaker.send(b"1")
        assert read.wait(5)
        speaker.send(*[b"x" * 100_000] * 5)
        speaker.pong()
        speaker.pong()
        alive.set()
        speaker.end()

    server.play(conversation)
    stream = client.stream("hello", [])
    assert next(stream) == b"1"
    read.set()
    while not alive.wait(0.02):
        getattr(client, "notice", lambda: None)()
    assert list(stream) == [b"x" * 100_000] * 5


def test_a_stream_that_ended_left_no_connection_behind(client, server):
    server.play(_echo, _echo)
    for _ in range(2):
        assert list(client.stream("echo", [END.encode()])) == [END.encode()]
