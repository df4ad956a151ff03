"""Limits for the memory and time that a client can take in Envoy."""

import asyncio
import contextlib
import socket
import time

import pytest

from process.http2 import GRPC, INITIAL_WINDOW, MAX_STREAMS, Http2
from process.plane import PATIENCE, running

pytestmark = pytest.mark.slow

LARGE = bytes(1_000_000)
MB = 1_000_000


async def large(reader, writer):
    """Replies to every request with a megabyte."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(LARGE))
            writer.write(LARGE)
            await writer.drain()
    writer.close()


async def small(reader, writer):
    """Replies with a kilobyte."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(1000))
            await writer.drain()
    writer.close()


async def endless(reader, writer):
    """Replies endlessly while the client reads."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        while True:
            writer.write(LARGE)
            await writer.drain()


def message(size: int) -> bytes:
    """The beginning of a gRPC message of 15 MiB."""
    return b"\x00\x00\xf0\x00\x00\x0a\x01k\x12\xfa\xff\xbf\x07" + bytes(size)


def test_the_streams_of_a_connection_and_their_buffers_are_limited(short_dir):
    with running(short_dir) as plane, Http2(plane.port) as client:
        assert client.limits[MAX_STREAMS] == plane.settings.streams == 100
        assert client.limits[INITIAL_WINDOW] == plane.settings.buffer == 256 * 1024


def test_unread_replies_take_little_memory_for_a_short_time(short_dir):
    with running(short_dir, unread=1) as plane:
        plane.set("large", plane.serve(short_dir / "large.sock", large))
        plane.call("/function/large")
        before = plane.memory()
        with Http2(plane.port, window=0) as client:
            streams = [client.begin("/function/large", method="GET", end=True) for _ in range(50)]
            client.until(lambda: len(client.begun) == len(streams))
            assert plane.memory() - before < 40 * MB
        plane.set("small", plane.serve(short_dir / "small.sock", small))
        with Http2(plane.port, window=0) as client:
            stream = client.begin("/function/small", method="GET", end=True)
            client.until(lambda: stream in client.begun)
            began = time.monotonic()
            client.until(lambda: stream in client.resets)
            assert 0.5 < time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cannot")
def test_a_reply_over_http_1_that_is_not_read_ends(short_dir):
    with running(short_dir, unread=1) as plane:
        plane.set("endless", plane.serve(short_dir / "endless.sock", endless))
        before = plane.memory()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", plane.port))
                client.sendall(b"GET /function/endless HTTP/1.1\r\nhost: x\r\n\r\n")
            lines = plane.access_log(20)
            assert plane.memory() - before < 40 * MB
            assert {line["function"] for line in lines} == {"endless"}
            assert all(800 < line["ms"] < 8000 for line in lines), lines


def test_endless_uploads_take_little_memory(short_dir):
    with running(short_dir) as plane, socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(short_dir / "deaf.sock"))
        deaf.listen(64)  # and never reads
        plane.set("deaf", f"unix:{short_dir}/deaf.sock")
        before = plane.memory()
        with Http2(plane.port) as client, contextlib.ExitStack() as stack:
            for _ in range(10):
                client.send(client.begin("/function/deaf"), bytes(5 * MB))
            head = b"POST /function/deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n"
            for _ in range(10):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", plane.port)))
                one.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    one.sendall(head + bytes(8 * MB))
            assert plane.memory() - before < 40 * MB


def test_a_message_that_never_ends_times_out(short_dir):
    with running(short_dir, message_timeout=1) as plane, Http2(plane.port) as client:
        began = time.monotonic()
        streams = [client.begin("/pb.Gateway/Invoke", GRPC) for _ in range(5)]
        for stream in streams:
            client.send(stream, message(MB))
        # Single bytes must not keep them open.
        while not (client.ended | set(client.resets)).issuperset(streams):
            assert time.monotonic() - began < PATIENCE
            client.read(0.1)
            client.send(streams[0], b"x")
        assert 0.9 < time.monotonic() - began < 5
        assert {line["path"] for line in plane.access_log(5)} == {"/pb.Gateway/Invoke"}


def test_a_call_may_take_longer_than_its_message(short_dir, launch):
    slow = launch(
        """
        import time
        def Handler(req):
            time.sleep(1.5)
            return "done"
        """,
        function="slow",
    )
    with running(short_dir, message_timeout=0.5) as plane:
        plane.set("slow", slow.endpoint)
        assert plane.call("/function/slow")[2] == b"done"
        with Http2(plane.port) as client:
            stream = client.begin("/pb.Gateway/Invoke", GRPC)
            client.send(stream, b"\0\0\0\0\6\x0a\4slow", end=True)
            client.until(lambda: stream in client.ended)
            assert client.received[stream] == 5 + 2 + len(b"done")


def test_envoy_sheds_load_before_its_memory_is_used_up(short_dir):
    most = 160 * 1024**2
    with running(short_dir, memory=most) as plane, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Http2(plane.port)) for _ in range(4)]
        for _ in range(6):
            for client in clients:
                if not client.is_closed:
                    with contextlib.suppress(ConnectionError):
                        client.send(client.begin("/pb.Gateway/Invoke", GRPC), message(8 * MB))
        assert plane.memory() < 1.5 * most
        for client in clients:
            while not client.is_closed and client.read(0.1):
                pass
        assert any(client.resets for client in clients)  # the streams that hold most
        plane.until(lambda: plane.call("/function/nobody")[0] == 503)
