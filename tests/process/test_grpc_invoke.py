"""Invoke of pb.Gateway through a real Envoy to real watchers: no Python of the gateway's between."""

import json
import threading
import time
from functools import partial

import grpc
import pytest

from dcf.dataplane.grpc import LARGEST
from dcf.rpc.grpc_status import LONGEST_MESSAGE
from process.plane import PATIENCE, Plane, running
from process.stub import connected, failure, messages

Code = grpc.StatusCode

KIT = """
    import os, sys, threading
    import dcf

    class Handler:
        def __call__(self, req):
            word = req.input.decode("latin-1") if len(req.input) < 100 else ""
            if word == "raise":
                raise LookupError('nothing "here"\\t\\\\ 한국 \\U0001f600')
            if word == "deep":
                raise LookupError("한" * 9000)
            if word == "bytes":
                return b"\\xff\\xfe"
            if word == "own":
                return dcf.Reply("my own words", status=404)
            if word == "teapot":
                return dcf.Reply(b"", status=418)
            if word == "created":
                return dcf.Reply("made", status=201)
            if word == "nothing":
                return b""
            if word == "chunks":
                return iter(("a", "b"))
            if word == "large":
                return b"x" * int(os.environ["LARGE"])
            if word == "large chunks":
                return (b"x" * 1_000_000 for _ in range(30))
            if word == "broken":
                return self.broken()
            if word == "left":
                return str(req.remaining)
            if word == "headers":
                return dict(req.headers)
            if word == "end":
                os._exit(3)
            if word == "wait":
                while not req.cancelled:
                    threading.Event().wait(0.01)
                print("cancelled", flush=True)
            return req.input

        def broken(self):
            yield "a"
            raise ValueError("in the middle")
"""


@pytest.fixture
def watcher(launch):
    environment = {"LARGE": str(LARGEST + 1)}
    return launch(KIT, function="kit", environment=environment.items(), queue=1)


@pytest.fixture
def plane(short_dir, watcher):
    with running(short_dir) as plane:
        plane.serve_control()
        plane.set("kit", watcher.endpoint, revision=3)
        yield plane


@pytest.fixture
def stub(plane: Plane):
    with connected(plane.port) as stub:
        yield stub


def invoke(stub, text: str | bytes = b"", name: str = "kit", **more) -> str:
    data = text.encode() if isinstance(text, str) else text
    reply: str = stub("Invoke", Service=name, Input=data, **more).Msg
    return reply


def refused(stub, text: str | bytes = b"", name: str = "kit", **more):
    return failure(lambda: invoke(stub, text, name, **more))


def test_replies(stub, plane):
    assert invoke(stub, "hello") == "hello"
    assert invoke(stub, "한국어 \U0001f600 é") == "한국어 \U0001f600 é"
    assert invoke(stub, "") == ""
    assert invoke(stub, "nothing") == ""
    assert invoke(stub, "created") == "made"
    assert invoke(stub, "chunks") == "ab"
    for size in (1, 15, 16, 17, 127, 128, 16_384, 300_000, 5_000_000):
        assert invoke(stub, "x" * size) == "x" * size
        assert invoke(stub, "x" * size + "é" * 3) == "x" * size + "é" * 3
    line = plane.access_log(1)[0]
    assert (line["function"], line["revision"], line["path"]) == ("kit", "3", "/function/kit")
    assert (line["status"], line["grpc"]) == (200, None)


def test_what_the_handler_sees_of_the_request(stub):
    metadata = [("x-request-id", "my-own"), ("authorization", "Bearer secret")]
    seen = json.loads(invoke(stub, "headers", metadata=metadata))
    assert seen["x-request-id"] == "my-own"
    assert seen["content-type"] == "application/octet-stream"
    assert seen["content-length"] == "7"
    assert "authorization" not in seen


def test_a_deadline_goes_on_to_the_replica(stub):
    # grpcio rounds a time-out of some seconds up to whole 10 ms before it writes it.
    assert 0 < float(invoke(stub, "left", timeout=7)) <= 7.01
    assert float(invoke(stub, "left", timeout=None)) > 100
    assert float(invoke(stub, "left", timeout=7200)) > 100


def test_a_deadline_that_passes(stub, plane, watcher):
    assert refused(stub, "wait", timeout=0.3)[0] is Code.DEADLINE_EXCEEDED
    # The replica's own word for it: the client waits longer than it says.
    raw = b"\x0a\x03kit\x12\x04wait"
    channel = stub._channel.unary_unary("/pb.Gateway/Invoke")
    code, message = failure(
        lambda: channel(raw, timeout=PATIENCE, metadata=[("x-dcf-deadline-ms", "200")])
    )
    assert code is Code.DEADLINE_EXCEEDED
    plane.until(lambda: watcher.log.count("cancelled") >= 1)
    assert "200 ms" in message or "0.2 s" in message, message


def test_a_client_that_goes_away_cancels_the_call(stub, plane, watcher):
    made = stub._channel.unary_unary("/pb.Gateway/Invoke").future(b"\x0a\x03kit\x12\x04wait")
    time.sleep(0.2)
    made.cancel()
    plane.until(lambda: "cancelled" in watcher.log)


def test_a_handler_that_raises(stub, plane):
    code, message = refused(stub, "raise")
    assert code is Code.INTERNAL
    assert message.startswith('LookupError: nothing "here"\t\\ 한국 \U0001f600\nTraceback')
    assert "src/handler.py" in message
    assert plane.access_log(1)[0]["grpc"] == "13"


def test_a_long_message_loses_its_middle_and_fits_a_header(stub):
    code, message = refused(stub, "deep")
    assert code is Code.INTERNAL
    assert message.startswith("LookupError: 한한")
    assert message.endswith("한\n")
    assert "[...]" in message
    assert "\ufffd" not in message
    assert LONGEST_MESSAGE / 2 < len(message.encode()) * 3 < LONGEST_MESSAGE * 1.6


def test_a_handlers_own_status(stub):
    assert refused(stub, "own") == (Code.NOT_FOUND, "my own words")
    assert refused(stub, "teapot") == (Code.UNKNOWN, "HTTP 418")


def test_a_reply_that_is_no_text(stub):
    code, message = refused(stub, "bytes")
    assert code is Code.INTERNAL
    assert "base64" in message
    for data in (b"\xc3", b"a\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 100 + b"\x80", b"\xc0\xaf"):
        assert refused(stub, data)[0] is Code.INTERNAL


def test_a_reply_that_breaks_off(stub):
    assert refused(stub, "broken")[0] is Code.UNAVAILABLE


def test_a_replica_that_ends(stub, plane, launch, short_dir):
    tables = [str(short_dir / f"calls/{number}") for number in range(2)]
    watchers = [launch(KIT, function="kit", call_table=table) for table in tables]
    plane.set("kit", *(watcher.endpoint for watcher in watchers))
    code, message = refused(stub, "end")
    assert code is Code.UNAVAILABLE
    assert message == "the replica ended after the handler had begun this call"
    assert invoke(stub, "x") == "x"
    assert refused(stub, "end")[0] is Code.UNAVAILABLE
    assert refused(stub, "x")[0] is Code.UNAVAILABLE


def test_messages_over_the_limit(stub):
    whole = "x" * LARGEST
    assert invoke(stub, whole) == whole
    for size in (LARGEST + 1, LARGEST + 100_000):
        code, message = refused(stub, b"x" * size)
        assert code is Code.RESOURCE_EXHAUSTED
        assert str(LARGEST) in message
    for word in ("large", "large chunks"):
        assert refused(stub, word) == (Code.RESOURCE_EXHAUSTED, refused(stub, "large")[1])
    assert invoke(stub, "still there") == "still there"


def test_more_calls_than_may_wait(stub, plane):
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(refused(stub, "wait", timeout=1)[0]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED}


def test_more_calls_than_envoy_lets_through(stub, plane, watcher):
    plane.set("kit", watcher.endpoint, calls=1, queue=1)
    channel = stub._channel.unary_unary("/pb.Gateway/Invoke")
    calls = []

    def is_refused() -> bool:
        calls.append(channel.future(b"\x0a\x03kit\x12\x04wait"))
        return any(one.done() and one.code() is Code.RESOURCE_EXHAUSTED for one in calls)

    try:
        plane.until(is_refused)
    finally:
        for one in calls:
            one.cancel()


def test_where_nobody_answers(stub, plane, short_dir):
    plane.set("gone", f"unix:{short_dir}/gone.sock")
    assert refused(stub, "x", "gone") == (Code.UNAVAILABLE, "no connection to gone")
    code, message = failure(lambda: stub("List"))
    assert (code, message) == (Code.UNAVAILABLE, "no connection to Control-plane-gRPC")


def test_what_is_no_function_goes_to_the_control_plane(stub):
    code, message = refused(stub, "x", "nobody")
    assert (code, json.loads(message)) == (Code.NOT_FOUND, {"control": "/function/nobody"})


REQUEST = b"\x0a\x03kit\x12\x02hi"


def test_every_way_to_write_a_request(stub):
    for data in (
        REQUEST,
        b"\x12\x02hi\x0a\x03kit",  # the other way round
        b"\x0a\x05other\x12\x02no" + REQUEST,  # the last counts
        b"\x1a\x03new\x20\x96\x01" + REQUEST + b"\x2d1234\x3112345678",  # unknown fields
        b"\x0a\x83\x80\x00kit\x12\x02hi",  # a length written longer than need be
    ):
        assert messages()["InvokeServiceRequest"].FromString(data).Input == b"hi"
        reply = messages()["Message"].FromString(stub.raw("/pb.Gateway/Invoke", data))
        assert reply.Msg == "hi", data


def test_what_is_malformed(stub):
    for data in (
        b"\x0a",
        b"\x0a\x7fkit",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08\x01",  # Service as a number
        b"\x00\x00",
        b"\x0b\x0c",  # a group
        b"\x0a\x03kit\x1d12",  # a number that is cut off
        b"\xff" * 100,
    ):
        code, message = failure(partial(stub.raw, "/pb.Gateway/Invoke", data))
        assert code is Code.INVALID_ARGUMENT, data
        assert "malformed" in message


def test_what_is_no_name(stub):
    for name in ("", "a/b", "a?b", "../x", "한", "a b", "x" * 200, "a\r\nb: c", "%2e"):
        code, message = refused(stub, "x", name)
        assert (code, message) == (Code.INVALID_ARGUMENT, "Service: expected a function's name")


def test_what_is_compressed(stub):
    compressed = {"compression": grpc.Compression.Gzip}
    code, message = failure(
        lambda: stub.raw("/pb.Gateway/Invoke", REQUEST + b" " * 1000, **compressed)
    )
    assert code is Code.UNIMPLEMENTED
    assert "compressed" in message


def test_calls_over_http_are_what_they_were(plane):
    status, headers, body = plane.call("/function/kit", b"bytes")
    assert (status, body) == (200, b"\xff\xfe")
    assert "grpc-status" not in headers
    problem = plane.problem("/function/kit", b"raise")
    assert problem["error"] == "HandlerRaised"


def test_a_gateway_that_is_not_open(short_dir, launch):
    with running(short_dir, open=False) as plane, connected(plane.port) as stub:
        plane.set("kit", launch(KIT, function="kit").endpoint)
        for name in ("Invoke", "List", "HealthCheck", "Deploy"):
            code, message = stub.error(name)
            assert code is Code.UNAUTHENTICATED
            assert message == 'expected a valid key in the header "Authorization: Bearer KEY"'
