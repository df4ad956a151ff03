"""How a stream of both clients begins, or does not."""

import pytest

from dcf import errors
from unit.client.speaker import Speaker


def test_a_stream_says_who_asks_until_when(client, server):
    asked = []

    def conversation(peer):
        speaker = Speaker(peer)
        asked.append(speaker.request)
        speaker.end()

    server.play(conversation)
    headers = {"X-Mine": "é", "X-Request-Id": "mine"}
    assert list(client.stream("hello", [], path="a b?q=é", headers=headers, timeout=2)) == []
    assert asked[0].path == "/function/hello/a%20b?q=%C3%A9"
    told = asked[0].headers
    assert told.get_all("Host") == [server.url.removeprefix("http://")]
    assert told["Authorization"] == "Bearer secret"
    assert told["Sec-WebSocket-Protocol"] == "dcf.v1"
    assert "Sec-WebSocket-Extensions" not in told
    assert (told["X-Dcf-Deadline-Ms"], told["X-Request-Id"]) == ("2000", "mine")
    assert told["X-Mine"].encode("latin-1").decode() == "é"


def test_without_a_time_there_is_no_deadline(client, server):
    def conversation(peer):
        speaker = Speaker(peer)
        assert "X-Dcf-Deadline-Ms" not in speaker.request.headers
        assert speaker.request.headers["X-Request-Id"]
        speaker.end()

    server.play(conversation)
    assert list(client.stream("hello", [b"x"])) == []


@pytest.mark.parametrize(
    "error",
    [
        errors.FunctionNotFound("no such function", ["echo"]),
        errors.AccessDenied("no"),
        errors.NotReady("it drains"),
        errors.HandlerInitFailed("it does not start", "Traceback ..."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_before_the_stream_is_raised(client, server, error):
    def conversation(peer):
        peer.request()
        peer.refuse(error)
        peer.wait_for_end()

    server.play(conversation)
    with pytest.raises(type(error), match=str(error)) as caught:
        client.stream("echo", [b"x"])
    assert vars(caught.value) == vars(error)


def _as_a_call(peer):
    peer.request()
    peer.reply(b"hello")


def _without_words(peer):
    Speaker(peer, subprotocol="").wait_for_end()


def _nonsense(peer):
    peer.request()
    peer.send(b"220 mail.example ESMTP\r\n\r\n")
    peer.wait_for_end()


@pytest.mark.parametrize(
    ("conversation", "says"),
    [
        (_as_a_call, "expected a WebSocket with the subprotocol dcf.v1, got .*HTTP 200"),
        (_without_words, "expected a WebSocket with the subprotocol dcf.v1, got .*HTTP 101"),
        (_nonsense, "expected HTTP, got another protocol"),
    ],
)
def test_what_speaks_something_else_is_told(client, server, conversation, says):
    server.play(conversation)
    with pytest.raises(errors.AnswerInvalid, match=says):
        client.stream("echo", [b"x"])


def test_a_connection_that_ends_before_the_stream_is_a_lost_one(client, server):
    server.play(lambda peer: peer.request())
    with pytest.raises(errors.ReplicaLost, match="before the stream began"):
        client.stream("echo", [b"x"])


def test_nobody_at_the_address(face):
    with face("127.0.0.1:9") as client, pytest.raises(errors.GatewayUnreachable):
        client.stream("echo", [b"x"])


def test_a_header_that_is_none_is_not_sent(face):
    with face("127.0.0.1:9") as client, pytest.raises(errors.BadRequest):
        client.stream("echo", [b"x"], headers={"x-mine": "a\r\nx-other: b"})
