"""A client that sends without end, or reads nothing, costs a replica a bounded amount of memory."""

import contextlib
import textwrap
import time
from pathlib import Path

from process.websockets_client import Bare, masked

ECHO = """
    def Handler(req):
        for message in req.stream:
            yield message
"""


def resident(running) -> int:
    """Bytes of memory that the replica's process has."""
    status = Path(f"/proc/{running.replica.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_answers_to_pings_that_are_not_read_do_not_pile_up(launch):
    running = launch(ECHO)
    with Bare(running) as bare:
        assert bare.upgrade().startswith(b"HTTP/1.1 101 ")
        bare.socket.sendall(masked(0x82, b"first"))
        assert bare.frames(1) == [(0x82, b"first")]
        before = resident(running)
        block = masked(0x89, b"p" * 125) * 1000
        for _ in range(320):
            bare.socket.sendall(block)  # 42 MB
        bare.socket.sendall(masked(0x89, b"newest"))
        bare.socket.sendall(masked(0x82, b"still there"))
        assert resident(running) - before < 8_000_000
        answers: list[tuple[int, bytes]] = []
        while not answers or answers[-1] != (0x82, b"still there"):
            answers += bare.frames(1)
            assert answers[-1][1] in {b"p" * 125, b"newest", b"still there"}
        # The newest one is always answered.
        assert (0x8A, b"newest") in answers or bare.frames(1) == [(0x8A, b"newest")]


def test_every_ping_of_a_client_that_reads_is_answered(launch):
    running = launch(ECHO)
    with Bare(running) as bare:
        assert bare.upgrade().startswith(b"HTTP/1.1 101 ")
        for number in range(200):
            bare.socket.sendall(masked(0x89, b"%d" % number) * 2)
            assert bare.frames(2) == [(0x8A, b"%d" % number)] * 2


def test_messages_that_do_not_arrive_whole_are_bounded_together(launch):
    running = launch(ECHO, waiting_bodies=8_000_000, concurrency=20)
    frame = masked(0x82, b"x" * 7_000_000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Bare(running)) for _ in range(8)]
        for client in clients:
            assert client.upgrade().startswith(b"HTTP/1.1 101 ")
        before = resident(running)
        unsent = []
        for client in clients:
            client.socket.settimeout(0.3)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 6_000_000:
                    sent += client.socket.send(frame[sent : sent + 100_000])
            unsent.append(frame[sent:])
        assert resident(running) - before < 30_000_000  # 48 MB were offered
        for client, rest in zip(clients, unsent, strict=True):
            client.socket.settimeout(20)
            client.socket.sendall(rest)
            assert client.frames(1)[0][0] == 0x82  # the head of its echo


LARGE = """
    import os
    def Handler(req):
        return bytes(int(req.input))
"""


def call(running, size: int) -> Bare:
    """A call whose reply has so many bytes."""
    bare = Bare(running)
    body = str(size).encode()
    bare.socket.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
    bare.socket.sendall(body)
    return bare


def test_a_reply_that_is_not_read_ends_its_connection(launch):
    running = launch(LARGE, idle_timeout=0.5)
    with call(running, 20_000_000) as bare, call(running, 20_000_000) as slow:
        assert bare.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        slow.until(b"\r\n\r\n")
        left = 20_000_000
        while left:  # a client that reads slowly, but reads, has all of it
            left -= len(slow.socket.recv(min(left, 2_000_000)))
            time.sleep(0.02)
        time.sleep(1.2)
        assert len(bare.all()) < 20_000_000
    assert running.call(b"3") == bytes(3)


def test_a_client_that_sends_requests_without_end_is_disconnected(launch, latch):
    running = launch(
        latch.source
        + textwrap.dedent(
            """
            def Handler(req):
                if req.input == b"wait":
                    wait()
                return b"done"
            """
        )
    )
    get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    with Bare(running) as few:
        few.socket.sendall(get * 200)
        assert few.exactly(200 * 10).count(b"HTTP/1.1 200") > 5
    with Bare(running) as many:
        wait = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nwait"
        many.socket.sendall(wait)
        latch.reached()
        before = resident(running)
        with contextlib.suppress(ConnectionError):
            many.socket.sendall(get * 100_000)
            assert many.all() == b""
        assert resident(running) - before < 4_000_000
        latch.open()
    assert running.call() == b"done"
