"""Calls, against a server that does what servers do at their worst."""

import asyncio
import io
import json
import socket

import pytest

from dcf import errors
from dcf.client.client import Client
from unit.client.kit import Awaited, Peer, scripted


def _echo(peer: Peer) -> None:
    peer.reply(peer.request().body)


def test_a_call_says_who_asks_until_when(client, server):
    def conversation(peer):
        received = peer.request()
        peer.reply(json.dumps([received.method, received.target, received.headers]).encode())

    server.play(conversation)
    method, target, headers = json.loads(client.call("hello", b"Ada", timeout=2))
    assert (method, target) == ("POST", "/function/hello")
    assert headers["host"] == server.url.removeprefix("http://")
    assert headers["authorization"] == "Bearer secret"
    assert headers["x-dcf-deadline-ms"] == "2000"
    assert headers["x-request-id"]
    assert headers["content-length"] == "3"


@pytest.mark.parametrize(
    ("data", "kind", "length", "body"),
    [
        (lambda: b"\x00", "application/octet-stream", "1", b"\x00"),
        (lambda: bytearray(b"ab"), "application/octet-stream", "2", b"ab"),
        (lambda: "é", "text/plain; charset=utf-8", "2", "é".encode()),
        (lambda: {"é": 1}, "application/json", "9", '{"é": 1}'.encode()),
        (list, "application/json", "2", b"[]"),
        (lambda: io.BytesIO(b"file"), "application/octet-stream", "4", b"file"),
        (lambda: iter([b"a", b"", b"bc"]), "application/octet-stream", None, b"abc"),
        (lambda: b"x" * 3_000_000, "application/octet-stream", "3000000", b"x" * 3_000_000),
    ],
    ids=["bytes", "bytearray", "str", "dict", "list", "file", "iterator", "large"],
)
def test_what_can_be_sent(face, data, kind, length, body, server):
    received = []

    def conversation(peer):
        received.append(peer.request())
        peer.reply(b"ok")

    server.play(conversation)
    with face(server.url) as client:
        assert client.call("hello", data()) == b"ok"
    headers = received[0].headers
    assert (headers["content-type"], headers.get("content-length")) == (kind, length)
    assert received[0].body == body


def test_path_method_and_headers_are_the_caller_s(client, server):
    def conversation(peer):
        received = peer.request()
        assert (received.method, received.target) == ("PUT", "/function/hello/a%20b?q=%C3%A9")
        assert received.headers["content-type"] == "image/png"
        assert received.headers["x-request-id"] == "mine"
        peer.reply(b"ok")

    server.play(conversation)
    given = {"Content-Type": "image/png", "X-Request-Id": "mine"}
    assert client.call("hello", method="PUT", path="a b?q=é", headers=given) == b"ok"


def test_one_connection_serves_many_calls(client, server):
    def conversation(peer):
        for _ in range(3):
            _echo(peer)

    server.play(conversation)
    assert [client.call("hello", text) for text in ("a", "b", "c")] == [b"a", b"b", b"c"]


def test_a_connection_that_the_gateway_closed_is_replaced(client, server):
    def first(peer):
        _echo(peer)
        peer.socket.close()
        server.happened.put("closed")

    server.play(first, _echo)
    assert client.call("hello", b"a") == b"a"
    server.happened.get(timeout=10)
    if isinstance(client, Awaited):
        client.notice()
    assert client.call("hello", b"b") == b"b"


def test_a_call_that_may_have_been_answered_is_not_sent_twice(client, server):
    def conversation(peer):
        _echo(peer)
        peer.request()

    server.play(conversation)
    client.call("hello", b"a")
    with pytest.raises(errors.ReplicaLost, match="the connection broke during the call"):
        client.call("hello", b"b")


def test_a_question_is_asked_again_over_a_new_connection(client, server):
    def first(peer):
        peer.request()
        peer.reply(b"[]")
        peer.request()

    def second(peer):
        peer.request()
        peer.reply(b"[]")

    server.play(first, second)
    assert client.functions() == []
    assert client.functions() == []


@pytest.mark.parametrize(
    "error",
    [
        errors.HandlerRaised("ValueError: x", "ValueError", "Traceback ..."),
        errors.FunctionNotFound("there is no helo", ["hello"]),
        errors.Overloaded("full", 7),
        errors.AccessDenied("a token is wanted"),
        errors.HandlerInitFailed("no weights", "Traceback ..."),
    ],
)
def test_an_error_comes_back_as_itself(client, server, error):
    def conversation(peer):
        peer.request()
        peer.refuse(error)

    server.play(conversation)
    with pytest.raises(type(error), match=str(error)) as caught:
        client.call("hello")
    assert vars(caught.value) == vars(error)


def test_a_status_that_the_handler_chose_is_an_error_of_a_call_and_an_answer_when_opened(
    client, server
):
    def conversation(peer):
        for _ in range(2):
            peer.request()
            peer.reply(b"no such page", 404, "text/plain")

    server.play(conversation)
    with pytest.raises(errors.CallError, match="HTTP 404: no such page"):
        client.call("hello")
    with client.open("hello") as answer:
        assert (answer.status, answer.read()) == (404, b"no such page")


def test_nobody_at_the_address(face):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with face(f"127.0.0.1:{port}") as client, pytest.raises(errors.GatewayUnreachable) as caught:
        client.call("hello")
    expected = f"cannot connect to the gateway at http://127.0.0.1:{port}: connection refused"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"\x00" * 1000, b"HTTP/9 x\r\n\r\n"]
)
def test_something_else_at_the_address(client, server, garbage):
    def conversation(peer):
        peer.request()
        peer.send(garbage)

    server.play(conversation)
    with pytest.raises(errors.AnswerInvalid):
        client.call("hello")


def test_no_reply_at_all(client, server):
    server.play(lambda peer: peer.request())
    with pytest.raises(errors.ReplicaLost, match="closed without a reply"):
        client.call("hello")


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_server_that_stalls_is_given_up(client, server, beginning):
    def conversation(peer):
        peer.request()
        peer.send(beginning)
        peer.stall()

    server.play(conversation)
    with pytest.raises(errors.DeadlineExceeded, match=r"the reply was not complete within 0\.2 s"):
        client.call("hello", timeout=0.1)


def test_a_stream_that_stalls_is_given_up(face, server):
    def conversation(peer):
        peer.request()
        peer.stream(b"one")
        peer.stall()

    server.play(conversation)
    with face(server.url, timeout=0.1) as client, client.open("hello") as answer:
        chunks = iter(answer.chunks)
        assert next(chunks) == b"one"
        with pytest.raises(errors.DeadlineExceeded, match=r"no data arrived for 0\.2 s"):
            next(chunks)


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
@pytest.mark.parametrize("reset", [True, False])
def test_a_reply_that_breaks_off(client, server, beginning, reset):
    def conversation(peer):
        peer.request()
        peer.send(beginning)
        if reset:
            peer.reset()

    server.play(conversation)
    with pytest.raises(errors.ReplicaLost):
        client.call("hello")


def test_a_refusal_that_comes_before_the_body_is_sent_whole(client, server):
    def conversation(peer):
        peer.request(whole=False)
        peer.refuse(errors.BodyTooLarge(5))
        peer.wait_for_end()

    server.play(conversation)
    with pytest.raises(errors.BodyTooLarge) as caught:
        client.call("hello", (b"x" * 100_000 for _ in range(1000)))
    assert caught.value.limit == 5


def test_chunks_come_as_they_are_sent_and_closing_ends_the_connection(client, server):
    def conversation(peer):
        peer.request()
        peer.stream(b"one")
        peer.wait_for_end()
        server.happened.put("ended")

    server.play(conversation)
    with client.open("hello") as answer:
        assert next(iter(answer.chunks)) == b"one"
    assert server.happened.get(timeout=10) == "ended"


def test_a_reply_without_a_length_ends_with_its_connection(client, server):
    def conversation(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    server.play(conversation)
    assert client.call("hello") == b"all of it"


def test_a_unix_socket_will_do(face, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("gateway.sock")
    running = scripted(listener, "unix:gateway.sock")
    server = next(running)
    server.play(_echo)
    with face(server.url) as client:
        assert client.call("hello", b"a") == b"a"
    next(running, None)


def test_tls_that_fails_is_told(face, server):
    def conversation(peer):
        peer.socket.recv(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server.play(conversation)
    url = server.url.replace("http:", "https:")
    with face(url) as client, pytest.raises(errors.GatewayUnreachable, match="TLS failed"):
        client.call("hello")


@pytest.mark.parametrize(
    "given",
    [
        lambda: {"headers": {"x y": "z"}},
        lambda: {"headers": {"x": "a\r\nb: c"}},
        lambda: {"data": io.StringIO("text")},
        lambda: {"data": io.TextIOWrapper(io.BytesIO(b"text"))},
    ],
)
def test_what_http_does_not_allow_is_refused(client, server, given):
    server.play(Peer.wait_for_end)
    with pytest.raises(errors.BadRequest):
        client.call("hello", **given())


@pytest.mark.parametrize("given", [{"name": "Not A Name"}, {"name": ".."}, {"name": ""}])
def test_a_name_that_no_function_has_is_not_sent(face, given):
    with face("no-such-host.invalid:1") as client, pytest.raises(errors.InvalidName):
        client.call(**given)


def test_what_no_call_can_send_is_a_type_error(face):
    message = "expected bytes, str, .* or an iterator of bytes, got int"
    with face("no-such-host.invalid:1") as client, pytest.raises(TypeError, match=message):
        client.call("hello", 5)


async def _forever():
    yield b"first"
    await asyncio.sleep(60)
    yield b"never"


def test_a_reply_that_comes_early_ends_a_body_that_does_not(server):
    def conversation(peer):
        peer.request(whole=False)
        peer.refuse(errors.BodyTooLarge(5))
        peer.wait_for_end()

    server.play(conversation)
    with Awaited(server.url) as client, pytest.raises(errors.BodyTooLarge):
        client.call("hello", _forever())


@pytest.mark.parametrize("method", ["call", "open"])
def test_only_the_async_client_sends_async_iterators(method):
    message = "expected an iterator of bytes, got async_generator"
    with Client("no-such-host.invalid:1") as client, pytest.raises(TypeError, match=message):
        getattr(client, method)("hello", _forever())


def test_a_client_that_is_not_used_opens_nothing(face):
    with face("no-such-host.invalid:1"):
        pass


def test_a_child_process_does_not_speak_on_its_parent_s_connections(server):
    server.play(_echo, _echo)
    with Client(server.url) as client:
        assert client.call("hello", b"a") == b"a"
        client._client._transport._pool._owner = 0
        assert client.call("hello", b"b") == b"b"
