"""Single requests of health checks, probes and admin interfaces, in both faces."""

import asyncio
import time

import pytest

from dcf.client.address import of_endpoint, parse
from dcf.client.fetch import Fetch, async_fetch, async_responds, fetch
from dcf.client.sync_network import run
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid, GatewayUnreachable


def _awaited(*args):
    return asyncio.run(async_fetch(*args))


@pytest.fixture(params=[fetch, _awaited], ids=["plain", "async"])
def fetched(request, server):
    """Sends a request to the scripted server."""

    def send(target, seconds=20.0, **kwargs):
        return request.param(parse(server.url), Fetch(target, **kwargs), Timeout(total=seconds))

    return send


def test_status_and_body(fetched, server):
    def conversation(peer):
        received = peer.request()
        assert (received.method, received.target, received.body) == ("POST", "/load?a=1", b"[]")
        assert received.headers["connection"] == "close"
        assert received.headers["content-type"] == "application/json"
        peer.send(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.chunk(b"to")
        peer.chunk(b"day")
        peer.send(b"0\r\n\r\n")
        peer.wait_for_end()

    server.play(conversation)
    assert fetched("/load?a=1", method="POST", body=b"[]", media_type="application/json") == (
        503,
        b"today",
    )


def test_a_body_over_the_limit_is_not_read(fetched, server):
    def conversation(peer):
        peer.request()
        peer.reply(b"12345")
        peer.wait_for_end()

    server.play(conversation, conversation)
    assert fetched("/", max_body=5) == (200, b"12345")
    with pytest.raises(AnswerInvalid, match="expected at most 4 bytes"):
        fetched("/", max_body=4)


def test_what_is_not_http_is_refused(fetched, server):
    def conversation(peer):
        peer.request()
        peer.send(b"220 mail\r\n\r\n")
        peer.wait_for_end()

    server.play(conversation)
    with pytest.raises(AnswerInvalid, match="expected HTTP, got another protocol"):
        fetched("/")


def test_a_server_that_stalls_times_out(fetched, server):
    def conversation(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        peer.stall()

    server.play(conversation)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        fetched("/", 0.1)
    assert time.monotonic() - started < 5


def test_a_connection_that_closes_without_a_reply(fetched, server):
    server.play(lambda peer: peer.request())
    with pytest.raises(OSError, match="closed without a reply"):
        fetched("/")


@pytest.mark.parametrize("send", [fetch, _awaited])
def test_nobody_listens(send, tmp_path):
    with pytest.raises(FileNotFoundError):
        send(of_endpoint(f"unix:{tmp_path}/none.sock"), Fetch("/"), Timeout(total=5))


@pytest.mark.parametrize(
    ("reply", "responds"),
    [(b"HTTP/1.1 503 Busy\r\n\r\n", True), (b"HTTP/1.1 200", True), (b"\x00\r\n\r\n", True), (b"", False)],
)  # fmt: skip
@pytest.mark.parametrize("stalls", [False, True])
def test_any_byte_is_a_response(server, reply, responds, stalls):
    def conversation(peer):
        peer.request()
        peer.send(reply)
        if stalls:
            peer.stall()

    server.play(conversation)
    timeout = Timeout(total=0.2 if stalls else 20)
    assert asyncio.run(async_responds(parse(server.url), Fetch("/"), timeout)) is responds


def test_a_server_that_does_not_exist_does_not_respond(tmp_path):
    address = of_endpoint(f"unix:{tmp_path}/none.sock")
    assert asyncio.run(async_responds(address, Fetch("/"), Timeout(total=5))) is False


def test_endpoints():
    assert of_endpoint("tcp:[::1]:80").host == "::1"
    assert of_endpoint("unix:/a b").socket == "/a b"
    with pytest.raises(GatewayUnreachable):
        of_endpoint("tcp:box:99999")


def test_the_blocking_network_runs_no_coroutine_that_needs_a_loop():
    async def sleeps():
        await asyncio.sleep(0)

    coroutine = sleeps()
    with pytest.raises(RuntimeError, match="waits for an event loop"):
        run(coroutine)
    coroutine.close()
