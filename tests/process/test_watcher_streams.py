"""Replies that come in chunks."""

import socket
import time

import pytest

from dcf import errors


def test_a_generator_is_a_stream(launch):
    running = launch(
        """
        class Handler:
            def __call__(self, req):
                yield "one "
                yield b"two "
                yield {"three": 3}
        """
    )
    answer = running.client().call(b"")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.read() == b'one two {"three": 3}\n'


def test_an_async_generator_is_a_stream(launch):
    running = launch(
        """
        import asyncio
        async def Handler(req):
            for n in range(3):
                await asyncio.sleep(0.01)
                yield str(n)
        """
    )
    assert running.call() == b"012"


def test_reply_gives_a_stream_its_type_and_status(launch):
    running = launch(
        """
        from dcf import Reply
        def Handler(req):
            return Reply((c for c in "abc"), content_type="text/event-stream", status=203)
        """
    )
    answer = running.client().call(b"")
    assert (answer.status, answer.headers["content-type"]) == (203, "text/event-stream")
    assert answer.read() == b"abc"


def test_an_empty_stream(launch):
    assert launch("def Handler(req): return iter(())").call() == b""


def test_a_chunk_arrives_when_it_is_yielded(launch, latch):
    running = launch(
        latch.source + "def Handler(req):\n    yield 'first'\n    wait()\n    yield 'second'"
    )
    chunks = running.client().call(b"").chunks
    assert next(chunks) == b"first"
    latch.open()
    assert b"".join(chunks) == b"second"


def test_an_error_before_the_first_chunk_has_its_status(launch):
    for source in ("def Handler(req):\n  raise OSError('no file')\n  yield b''",
                   "async def Handler(req):\n  raise OSError('no file')\n  yield b''"):  # fmt: skip
        with pytest.raises(errors.HandlerRaised, match="OSError: no file"):
            launch(source).call()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_error_in_the_middle_breaks_the_reply_off(launch, kind):
    running = launch(f"{kind} Handler(req):\n  yield b'part'\n  raise OSError('lost')")
    chunks = running.client().call(b"").chunks
    assert next(chunks) == b"part"
    with pytest.raises(errors.ReplicaLost, match="the reply is incomplete"):
        list(chunks)
    assert "OSError: lost" in running.log
    assert "Exception in ASGI" not in running.log


def test_a_value_that_cannot_be_sent_is_told(launch):
    with pytest.raises(errors.UnsupportedReply, match="got a value of type object"):
        launch("def Handler(req):\n  yield object()").call()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_slow_reader_slows_the_writer(launch, kind):
    running = launch(
        f"""
        made = 0
        {kind} Handler(req):
            global made
            if req.input == b"how many":
                yield str(made)
                return
            for _ in range(200):
                made += 1
                yield bytes(1_000_000)
        """,
        concurrency=2,
    )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        connection.connect(running.endpoint.removeprefix("unix:"))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.5)
        assert int(running.call(b"how many")) < 20
        received, end = 0, b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            data = connection.recv(1 << 20)
            received += len(data)
            end = (end + data)[-7:]
        assert received > 200_000_000
        assert int(running.call(b"how many")) == 200


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_whose_client_is_gone_is_closed(launch, kind, tmp_path):
    sleep = "await asyncio.sleep" if kind == "async def" else "time.sleep"
    running = launch(
        f"""
        import asyncio, time
        {kind} Handler(req):
            if req.input:
                yield "alive"
                return
            try:
                while True:
                    yield b"x" * 1000
                    {sleep}(0.01)
            finally:
                open({str(tmp_path / "closed")!r}, "w").close()
        """,
        concurrency=1,
    )
    chunks = running.client().call(b"").chunks
    next(chunks)
    chunks.close()
    assert running.call(b"x") == b"alive"
    assert (tmp_path / "closed").exists()


def test_a_stream_may_take_longer_than_one_reply(launch):
    running = launch(
        """
        import time
        def Handler(req):
            for n in range(8):
                time.sleep(0.2)
                yield str(n)
        """,
        timeout=0.6,
    )
    assert running.call() == b"01234567"


def test_a_stream_that_stands_still_is_ended(launch):
    running = launch(
        """
        import time
        def Handler(req):
            yield "begun"
            while not req.cancelled:
                time.sleep(0.01)
        """,
        timeout=0.4,
    )
    chunks = running.client().call(b"").chunks
    assert next(chunks) == b"begun"
    with pytest.raises(errors.ReplicaLost):
        list(chunks)
