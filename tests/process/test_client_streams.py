"""Both clients' streams with real replicas, and functions that stream to one another."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import threading
import time

import pytest

import dcf
from dcf.client.watcher import WatcherClient
from dcf.errors import (
    BadRequest,
    BodyTooLarge,
    DeadlineExceeded,
    FunctionNotFound,
    HandlerRaised,
    ReplicaLost,
)

SHOUT = """
    def Handler(req):
        for message in req.stream:
            if message == b"raise":
                raise ValueError("not today")
            if message == b"wait":
                import time
                time.sleep(30)
            yield message.upper()
"""
ASYNC_SHOUT = """
    async def Handler(req):
        async for message in req.stream:
            if message == b"raise":
                raise ValueError("not today")
            yield message.upper()
"""
JSON = """
    def Handler(req):
        return {"got": req.json()}
"""


def _plain(url, name, messages, **given):
    with dcf.Client(url, "t") as client:
        return list(client.stream(name, messages, **given))


def _awaited(url, name, messages, **given):
    async def ask():
        async with dcf.AsyncClient(url, "t") as client:
            return [reply async for reply in client.stream(name, messages, **given)]

    return asyncio.run(ask())


FACES = pytest.mark.parametrize("ask", [_plain, _awaited], ids=["plain", "async"])
ENDPOINTS = pytest.mark.parametrize("listen", ["tcp:127.0.0.1:0", ""], ids=["tcp", "unix"])


def _url(running):
    return running.endpoint.removeprefix("tcp:")


@ENDPOINTS
@FACES
@pytest.mark.parametrize("source", [SHOUT, ASYNC_SHOUT], ids=["plain", "async"])
def test_a_stream_with_a_generator(launch, listen, ask, source):
    given = {"listen": listen} if listen else {}
    running = launch(source, function="other", **given)
    messages = [b"%d-a" % number for number in range(500)]
    assert ask(_url(running), "other", messages) == [one.upper() for one in messages]
    assert ask(_url(running), "other", iter([])) == []
    with pytest.raises(HandlerRaised, match="not today") as caught:
        ask(_url(running), "other", [b"a", b"raise", b"b"])
    assert 'raise ValueError("not today")' in caught.value.traceback


@FACES
def test_each_message_may_have_an_error_of_its_own(launch, ask):
    running = launch(JSON, function="other")
    told: list[dcf.errors.DcfError] = []
    replies = ask(_url(running), "other", [{"a": 1}, "{", [2]], on_error=told.append)
    assert [json.loads(reply)["got"] for reply in replies] == [{"a": 1}, [2]]
    assert [type(error) for error in told] == [BadRequest]
    with pytest.raises(BadRequest, match="is not valid JSON"):
        ask(_url(running), "other", ["{"])


@FACES
def test_an_unknown_function_and_a_deadline(launch, ask):
    running = launch(SHOUT, function="other", grace=0.1)
    with pytest.raises(FunctionNotFound) as caught:
        ask(_url(running), "othr", [])
    assert caught.value.near == ("other",)
    with pytest.raises(DeadlineExceeded, match="there was no reply within"):
        ask(_url(running), "other", [b"wait"], timeout=0.3)


@FACES
def test_a_replica_that_is_killed_in_mid_stream_is_lost(launch, ask):
    source = """
        import os
        def Handler(req):
            for message in req.stream:
                yield str(os.getpid())
    """
    running = launch(source, function="other")
    stop = threading.Event()

    def messages():
        yield b"a"
        stop.wait(0.3)
        yield b"b"

    with dcf.Client(_url(running), "t") as client:
        pid = int(next(client.stream("other", [b"x"])))
    timer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(ReplicaLost, match="closed during the stream"):
        ask(_url(running), "other", messages())
    timer.join()


@FACES
def test_large_messages_both_ways(launch, ask):
    running = launch(SHOUT, function="other")
    messages = [b"a" * 3_000_000, b"b", b"c" * 1_000_000]
    assert ask(_url(running), "other", messages) == [one.upper() for one in messages]


@FACES
def test_a_message_over_the_limit_is_told(launch, ask):
    running = launch(SHOUT, function="other", max_message=1000)
    assert ask(_url(running), "other", [b"a" * 1000]) == [b"A" * 1000]
    for size in (1001, 3_000_000):
        with pytest.raises(BodyTooLarge, match="1000 bytes"):
            ask(_url(running), "other", itertools.chain([b"a"], itertools.repeat(b"a" * size)))


@FACES
def test_a_stream_that_rests_too_long_is_ended(launch, ask):
    running = launch(SHOUT, function="other", idle_timeout=0.2)
    over = threading.Event()

    def messages():
        yield b"a"
        over.wait(5)

    async def awaited():
        yield b"a"
        await asyncio.sleep(5)

    with pytest.raises(DeadlineExceeded, match="no message came or went"):
        ask(_url(running), "other", messages() if ask is _plain else awaited())
    over.set()


def test_messages_wait_for_replies_and_replies_for_messages(launch):
    running = launch(SHOUT, function="other")
    answered = threading.Semaphore()

    def messages():
        for number in range(50):
            assert answered.acquire(timeout=5)
            yield f"{number}a"

    with dcf.Client(_url(running), "t") as client:
        replies = []
        for reply in client.stream("other", messages()):
            replies.append(reply)
            answered.release()
    assert replies == [b"%dA" % number for number in range(50)]


def test_who_leaves_ends_the_handler(launch, tmp_path):
    left = tmp_path / "left"
    source = f"""
        from pathlib import Path
        def Handler(req):
            try:
                for number, _ in enumerate(req.stream):
                    yield str(number)
            finally:
                Path({str(left)!r}).touch()
    """
    running = launch(source, function="other")
    with dcf.Client(_url(running), "t") as client:
        for reply in client.stream("other", itertools.repeat(b"x")):
            if reply == b"20":
                break
    end = time.monotonic() + 5
    while not left.exists():
        assert time.monotonic() < end, running.log
        time.sleep(0.01)


def test_a_reader_who_is_slower_than_pings_is_not_given_up(launch):
    source = """
        def Handler(req):
            for _ in req.stream:
                for _ in range(8):
                    yield b"x" * 100_000
    """
    running = launch(source, function="other", ping=0.2)
    with dcf.Client(_url(running), "t") as client:
        count = 0
        for _ in client.stream("other", [b"a"]):
            time.sleep(0.15)
            count += 1
    assert count == 8


def test_many_streams_in_threads_and_tasks(launch):
    running = launch(ASYNC_SHOUT, function="other")
    messages = [b"%d" % number for number in range(50)]
    replies = []

    def stream(client):
        replies.append(list(client.stream("other", messages)))

    with dcf.Client(_url(running), "t") as client:
        threads = [threading.Thread(target=stream, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == [messages] * 8

    async def ask():
        async with dcf.AsyncClient(_url(running), "t") as client:

            async def one():
                return [reply async for reply in client.stream("other", messages)]

            return await asyncio.gather(*(one() for _ in range(50)))

    assert asyncio.run(ask()) == [messages] * 50


# From function to function


PIPE = """
    import dcf

    def Handler(req):
        for reply in dcf.stream("other", req.stream):
            yield b"<" + reply + b">"
"""
ASYNC_PIPE = """
    import dcf

    async def Handler(req):
        async with dcf.stream_async("other", req.stream) as replies:
            async for reply in replies:
                yield b"<" + reply + b">"
"""
TOLD = """
    def Handler(req):
        for message in req.stream:
            yield {"id": req.request_id, "left": req.headers.get("x-dcf-deadline-ms")}
"""


@pytest.fixture
def start(launch):
    """Starts a function that streams to ``other``, and ``other``."""

    def started(source, other=SHOUT, **given):
        running = launch(other, function="other", listen="tcp:127.0.0.1:0")
        environment = {"DCF_GATEWAY": f"http://{_url(running)}", "DCF_TOKEN": "key-1"}
        return launch(source, environment=environment, function="pipe", **given)

    return started


PIPES = pytest.mark.parametrize("source", [PIPE, ASYNC_PIPE], ids=["plain", "async"])


@PIPES
def test_a_function_streams_through_another(start, source):
    running = start(source)
    messages = [b"%d-a" % number for number in range(200)]
    replies = list(running.client().stream(messages))
    assert replies == [b"<%d-A>" % number for number in range(200)]


@PIPES
def test_what_the_other_raised_in_the_stream_is_raised_here(start, source):
    with pytest.raises(HandlerRaised, match="not today") as caught:
        list(start(source).client().stream([b"raise"]))
    assert caught.value.exception == "dcf.errors.HandlerRaised"


@PIPES
def test_a_stream_in_a_stream_has_its_id_and_its_callers_deadline(start, source):
    running = start(source, TOLD)
    headers = {"x-request-id": "id-1"}
    (reply,) = running.client().stream([b"a"], headers=headers)
    assert json.loads(reply[1:-1]) == {"id": "id-1", "left": None}
    (reply,) = running.client().stream([b"a"], headers={**headers, "x-dcf-deadline-ms": "5000"})
    assert 0 < int(json.loads(reply[1:-1])["left"]) <= 5000


@PIPES
def test_who_leaves_a_pipe_ends_it(start, source):
    running = start(source)
    with running.client().stream(itertools.repeat(b"a")) as replies:
        assert next(replies) == b"<A>"
    # It has one slot, or it takes no time to be free again.
    assert list(running.client().stream([b"b"])) == [b"<B>"]


def test_a_watcher_that_is_not_there_is_a_lost_replica(short_dir):
    client = WatcherClient(f"unix:{short_dir}/none.sock", 1)
    with pytest.raises(ReplicaLost, match="cannot connect to the replica: "):
        client.stream([])
