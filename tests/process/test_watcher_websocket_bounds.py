"""Bounds of streams on a WebSocket: time, room, memory, and the end of a replica."""

import contextlib
import resource
import selectors
import time
from pathlib import Path

import pytest

from process.websockets_client import Bare, closed, connect, error_word, masked

KINDS = pytest.mark.parametrize("kind", ["", "async "])


@KINDS
def test_the_deadline_is_that_of_each_reply(launch, kind):
    sleep = "await asyncio.sleep" if kind else "time.sleep"
    running = launch(
        f"""
        import asyncio, time
        {kind}def Handler(req):
            {kind}for message in req.stream:
                assert 0 < req.remaining <= 0.4
                {sleep}(float(message))
                yield message
        """,
        timeout=0.4,
    )
    with connect(running) as client:
        time.sleep(0.6)  # it waits for its client, and nobody for it
        for _ in range(4):
            client.send(b"0.15")
            assert client.recv(5) == b"0.15"
        time.sleep(0.6)
        client.send(b"0.7")
        word = error_word(client)
        assert word["problem"]["detail"] == "there was no reply within 0.4 s"
        assert closed(client)[0] == 4504
    with connect(running, additional_headers={"X-Dcf-Deadline-Ms": "300"}) as client:
        assert error_word(client)["problem"]["error"] == "DeadlineExceeded"
        assert closed(client)[0] == 4504


def test_a_stream_that_stands_still_is_ended(launch):
    running = launch(
        """
        import time
        def Handler(req):
            for message in req.stream:
                time.sleep(float(message))
                yield message
        """,
        idle_timeout=0.3,
        concurrency=2,
    )
    with connect(running) as never_began, connect(running) as client:
        client.send(b"0.5")  # a working handler is not idle
        assert client.recv(5) == b"0.5"
        for _ in range(2):
            time.sleep(0.2)
            client.send(b"0")
            assert client.recv(5) == b"0"
        for one in (client, never_began):
            word = error_word(one)
            assert word["problem"]["detail"] == "no message came or went for 0.3 s"
            assert closed(one) == (4504, "no message came or went for 0.3 s")
    assert running.call(b"0") == b"0"


def test_a_plain_handler_that_does_not_end_takes_the_process_with_it(launch):
    running = launch(
        """
        import time
        def Handler(req):
            for message in req.stream:
                time.sleep(60)
                yield message
        """,
        timeout=0.2,
        grace=0.2,
    )
    with connect(running) as client:
        client.send(b"")
        assert error_word(client)["problem"]["error"] == "DeadlineExceeded"
    ended = running.replica.wait(5)
    assert ended is not None
    assert ended.code == 75


@KINDS
def test_a_drain_ends_streams_in_time(launch, kind):
    running = launch(
        f"""
        {kind}def Handler(req):
            {kind}for message in req.stream:
                yield message
        """,
        drain=0.6,
    )
    with connect(running) as client, Bare(running) as late:
        client.send(b"before")
        assert client.recv(5) == b"before"
        time.sleep(0.05)  # until the second connection was accepted
        running.replica.drain()
        client.send(b"meanwhile")
        assert client.recv(5) == b"meanwhile"
        time.sleep(0.05)
        assert late.upgrade().startswith(b"HTTP/1.1 503 ")
        assert error_word(client)["problem"]["error"] == "NotReady"
        assert closed(client)[0] == 1012
    ended = running.replica.wait(5)
    assert ended is not None
    assert ended.code == 0


@KINDS
def test_a_slow_reader_slows_the_handler(launch, kind, tmp_path):
    made = tmp_path / "made"
    running = launch(
        f"""
        import pathlib
        made = pathlib.Path({str(made)!r})
        {kind}def Handler(req):
            for number in range(200):
                yield bytes(100_000)
                made.write_text(str(number))
        """
    )
    with Bare(running) as bare:
        bare.upgrade()
        bare.socket.sendall(masked(0x82, b""))
        count = _until_still(made)
        assert count < 40  # 1 MiB, and what the connection itself holds
        bare.exactly(200 * 100_010)
        assert made.read_text() == "199"


@KINDS
def test_a_slow_handler_slows_the_client(launch, kind, tmp_path):
    go = tmp_path / "go"
    sleep = "await asyncio.sleep" if kind else "time.sleep"
    running = launch(
        f"""
        import asyncio, pathlib, time
        {kind}def Handler(req):
            while not pathlib.Path({str(go)!r}).exists():
                {sleep}(0.01)
            count = 0
            {kind}for message in req.stream:
                count += len(message)
                if not message:
                    break
            yield str(count)
        """
    )
    block = masked(0x82, bytes(100_000))
    with Bare(running) as bare:
        bare.upgrade()
        bare.socket.settimeout(0)
        sent, size = 0, 20_000_000
        still = time.monotonic() + 0.3
        with selectors.DefaultSelector() as ready:
            ready.register(bare.socket, selectors.EVENT_WRITE)
            while time.monotonic() < still and sent < size:
                if ready.select(0.05):
                    sent += bare.socket.send(block[sent % len(block) :])
                    still = time.monotonic() + 0.3
        assert sent < 4_000_000
        go.touch()
        bare.socket.settimeout(10)
        bare.socket.sendall(block[sent % len(block) :])
        bare.socket.sendall(masked(0x82, b""))
        ((_, data),) = bare.frames(1)
        assert int(data) == (sent // len(block) + 1) * 100_000


def test_a_client_that_is_silent_is_asked_whether_it_is_there(launch, tmp_path):
    mark = tmp_path / "ended"
    running = launch(
        f"""
        import pathlib
        def Handler(req):
            try:
                for message in req.stream:
                    yield message
            finally:
                pathlib.Path({str(mark)!r}).touch()
        """,
        ping=0.2,
    )
    with connect(running) as lives:  # answers by itself
        lives.send(b"a")
        assert lives.recv(5) == b"a"
        time.sleep(0.7)
        lives.send(b"b")
        assert lives.recv(5) == b"b"
    _wait_for(mark.exists)
    mark.unlink()
    with Bare(running) as dead:
        dead.upgrade()
        dead.socket.sendall(masked(0x82, b"a"))
        assert dead.frames(2) == [(0x82, b"a"), (0x89, b"")]
        assert dead.all() == b""
        _wait_for(mark.exists)


def test_a_thousand_streams_may_be_open(launch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("too few open files allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    try:
        running = launch(
            """
            async def Handler(req):
                async for message in req.stream:
                    yield message
            """
        )
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(Bare(running)) for _ in range(1000)]
            for one in opened:
                assert one.upgrade().startswith(b"HTTP/1.1 101 ")
            for round_ in range(2):
                for number, one in enumerate(opened):
                    one.socket.sendall(masked(0x82, b"%d/%d" % (round_, number)))
                for number, one in enumerate(opened):
                    assert one.frames(1) == [(0x82, b"%d/%d" % (round_, number))]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _until_still(file: Path) -> int:
    """The number in a file once it has not changed for a while."""
    _wait_for(file.exists)
    last = ""
    while (text := file.read_text()) != last or not text:
        last = text
        time.sleep(0.2)
    return int(last)


def _wait_for(condition) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
