"""What else a gateway can be asked."""

import json

import pytest

from dcf import errors
from dcf.client import response
from dcf.model.event import Event, EventKind
from dcf.model.status import (
    Failure,
    FunctionState,
    FunctionStatus,
    GatewayInfo,
    ReplicaLine,
    ReplicaStatus,
    RevisionStatus,
)
from dcf.protocol.gateway import members_of

HELLO = FunctionStatus(
    name="hello",
    artifact="sha256:1",
    revision=2,
    serving=1,
    state=FunctionState.DEGRADED,
    takes_calls=True,
    invocations=7,
    replicas=2,
    ready=1,
    minimum=1,
    maximum=4,
    labels={"a": "b"},
    failure=Failure(5.0, "it ended", "ReplicaExited"),
    replica_list=(ReplicaStatus("hello-1", 1, "ready", 3.0, ("memory: 1 GiB",)),),
)
REVISION = RevisionStatus(2, "sha256:1", 4.0, current=True)
EVENT = Event("hello", EventKind.CRASHED, 5.0, 2, "k", "hello-1", "exit code 1")
INFO = GatewayInfo("1.0", 1, 2, 3.0)
KEY = {"name": "phone", "created": 1.0, "revoked": False}


@pytest.mark.parametrize(
    ("operation", "method", "target", "body", "reply", "result"),
    [
        (("functions",), "GET", "/system/functions", None, [members_of(HELLO)], [HELLO]),
        (("list",), "GET", "/system/functions", None, [], []),
        (("function", "hello"), "GET", "/system/function/hello", None, members_of(HELLO), HELLO),
        (("info", "hello"), "GET", "/system/function/hello", None, members_of(HELLO), HELLO),
        (("revisions", "hello"), "GET", "/system/function/hello/revisions", None, [members_of(REVISION)], [REVISION]),
        (("events", "hello"), "GET", "/system/function/hello/events", None, [members_of(EVENT)], [EVENT]),
        (("scale", "hello", 3), "PUT", "/system/scale-function", {"name": "hello", "replicas": 3}, members_of(HELLO), HELLO),
        (("scale", "hello", None), "PUT", "/system/scale-function", {"name": "hello", "replicas": None}, members_of(HELLO), HELLO),
        (("delete", "hello"), "DELETE", "/system/function/hello", None, None, None),
        (("gateway_info",), "GET", "/system/info", None, {**members_of(INFO), "newer": 1}, INFO),
        (("keys",), "GET", "/system/keys", None, [KEY], [KEY]),
        (("make_key", "phone"), "POST", "/system/keys", {"name": "phone"}, {"name": "phone", "key": "k-1"}, "k-1"),
        (("revoke_key", "a/b"), "DELETE", "/system/keys/a%2Fb", None, None, None),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_operations(client, server, operation, method, target, body, reply, result):
    def conversation(peer):
        received = peer.request()
        assert (received.method, received.target) == (method, target)
        assert received.headers["authorization"] == "Bearer secret"
        assert (received.json() if received.body else None) == body
        peer.reply(b"" if reply is None else json.dumps(reply).encode())

    server.play(conversation)
    name, *arguments = operation
    assert getattr(client, name)(*arguments) == result


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        (
            b"<html>",
            200,
            "text/html",
            "expected the reply of a DCF gateway to GET .*, got '<html>'",
        ),
        (b'[{"name": "x"}]', 200, "application/json", "expected the reply of a DCF gateway"),
        (b"[" * 100_000, 200, "application/json", "expected the reply of a DCF gateway"),
        (
            b"<h1>Not Found</h1>",
            404,
            "text/html",
            "to GET /system/functions, got HTTP 404: '<h1>Not Found</h1>'",
        ),
        (b"", 302, "text/html", "got HTTP 302: ''"),
    ],
)
def test_an_answer_that_no_gateway_gives(client, server, body, status, kind, message):
    def conversation(peer):
        peer.request()
        peer.reply(body, status, kind)

    server.play(conversation)
    with pytest.raises(errors.AnswerInvalid, match=message):
        client.functions()


def test_a_gateway_that_goes_away_is_unreachable(client, server):
    def conversation(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[")

    server.play(conversation)
    with pytest.raises(errors.GatewayUnreachable, match="the reply is incomplete"):
        client.functions()


def test_an_error_of_the_gateway_comes_back_as_itself(client, server):
    def conversation(peer):
        peer.request()
        peer.refuse(errors.NameTaken("there is a key 'phone'"))

    server.play(conversation)
    with pytest.raises(errors.NameTaken, match="there is a key 'phone'"):
        client.make_key("phone")


LINES = [ReplicaLine(1.5, "hello-1", "é"), ReplicaLine(2.0, "hello-2", "")]


def _line(line: ReplicaLine) -> bytes:
    return json.dumps(members_of(line)).encode() + b"\n"


def test_a_log_is_read_line_by_line(client, server):
    def conversation(peer):
        received = peer.request()
        assert received.path == "/system/function-log/hello"
        assert received.target.partition("?")[2] == "since=1.5&replica=hello-1&tail=0"
        assert received.headers["accept"] == "application/jsonl"
        both = b"".join(map(_line, LINES))
        peer.stream(both[:7], both[7:])
        peer.send(b"0\r\n\r\n")

    server.play(conversation)
    assert list(client.logs("hello", since=1.5, tail=0, replica="hello-1")) == LINES


def test_a_log_that_is_followed_goes_on_until_it_is_left(client, server):
    def conversation(peer):
        assert peer.request().target == "/system/function-log/hello?follow=1"
        peer.stream(_line(LINES[0]))
        assert server.happened.get(timeout=10) == "first"
        peer.chunk(_line(LINES[1]))
        peer.wait_for_end()

    server.play(conversation)
    following = client.logs("hello", follow=True)
    assert next(following) == LINES[0]
    server.happened.put("first")
    assert next(following) == LINES[1]
    following.close()


def test_a_log_that_breaks_off_or_makes_no_sense(client, server):
    def first(peer):
        peer.request()
        peer.stream(_line(LINES[0]))
        peer.socket.shutdown(1)
        peer.wait_for_end()

    def second(peer):
        peer.request()
        peer.stream(b"2026-01-01 hello\n")
        peer.wait_for_end()

    server.play(first, second)
    with pytest.raises(errors.GatewayUnreachable, match="the connection to the gateway broke"):
        list(client.logs("hello"))
    with pytest.raises(errors.AnswerInvalid):
        list(client.logs("hello"))


@pytest.mark.parametrize("start", [b"", b"\n"])
def test_a_line_that_is_too_long_is_not_kept(client, server, monkeypatch, start):
    monkeypatch.setattr(response, "MAX_LINE", 1000)
    longest = ReplicaLine(1.0, "hello-1", "a" * 955)
    assert len(_line(longest)) == 1000 + len("\n")

    def conversation(peer):
        peer.request()
        peer.stream(_line(longest), start + b"b" * 1001)
        peer.wait_for_end()

    server.play(conversation)
    lines = client.logs("hello")
    assert next(lines) == longest
    with pytest.raises(errors.AnswerInvalid, match="expected lines of at most 1000 bytes"):
        next(lines)
