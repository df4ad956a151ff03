"""Invokes of pb.Gateway through a real Envoy and a real bridge to real watchers."""

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from dcf.dataplane.grpc import LARGEST
from dcf.errors import FunctionNotFound
from dcf.protocol.problem import to_problem
from dcf.rpc.grpc_status import LONGEST_MESSAGE
from process.conftest import launching
from process.plane import PATIENCE, Plane, running
from process.stub import Stub, connected, failure, messages

Code = grpc.StatusCode

EACH = """
    import json, os
    import dcf

    class Handler:
        def __call__(self, req):
            word = req.input.decode("latin-1") if len(req.input) < 100 else ""
            if word == "raise":
                raise LookupError('nothing "here"\\t\\\\ 한국 \\U0001f600')
            if word == "deep":
                raise LookupError("한" * 9000)
            if word == "bad":
                raise dcf.BadRequest("expected a number")
            if word == "text":
                return "한국"
            if word == "object":
                return {"a": 1}
            if word == "word":
                return '{"dcf": "end"}'
            if word == "large":
                return b"x" * int(os.environ["LARGE"])
            if word == "headers":
                return json.dumps(dict(req.headers))
            if word == "end":
                os._exit(3)
            return req.input
"""

WHOLE = """
    import itertools, time

    class Handler:
        def __call__(self, req):
            count = 0
            try:
                for message in req.stream:
                    count += 1
                    if message == b"stop":
                        return
                    if message == b"raise":
                        raise LookupError("in the middle")
                    if message == b"wait":
                        while not req.cancelled:
                            time.sleep(0.01)
                    if message == b"flood":
                        for sent in itertools.count(1):
                            print("sent", sent, flush=True)
                            yield bytes(100_000)
                    if message == b"many":
                        yield from (b"%d" % number for number in range(20_000))
                    yield message
                yield b"%d messages" % count
            finally:
                print("ended after", count, flush=True)
"""


@pytest.fixture(scope="module")
def replicas(folder, tmp_path_factory, _shared):
    with launching(tmp_path_factory.mktemp("replicas"), folder) as start:
        environment = {"LARGE": str(LARGEST + 1)}
        yield {
            "each": start(EACH, function="each", environment=environment.items()),
            # The ping detects a client that disconnects while the handler does not read.
            "whole": start(WHOLE, function="whole", concurrency=20, queue=1, ping=0.5),
        }


@pytest.fixture(scope="module")
def plane(folder, replicas) -> Iterator[Plane]:
    with running(folder) as plane:
        plane.serve_control()
        for name, replica in replicas.items():
            plane.set(name, replica.endpoint)
        plane.start_bridge()
        yield plane


@pytest.fixture(scope="module")
def stub(plane) -> Iterator[Stub]:
    with connected(plane.port) as stub:
        yield stub


def count_in_log(replica, text: str) -> int:
    """Return how often a replica has printed a text."""
    count: int = replica.log.count(text)
    return count


def until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# Messages


@pytest.mark.parametrize("name", ["each", "whole"])
def test_replies_come_in_order_while_messages_are_sent(stub, name):
    with stub.talk() as talk:
        for number in range(20):
            talk.send(name, b"%d" % number)
            assert talk.receive() == b"%d" % number
        talk.send(name, *(b"%d" % number for number in range(1000)))
        assert [talk.receive() for _ in range(1000)] == [b"%d" % number for number in range(1000)]
        talk.end()
        assert talk.rest() == ([b"1020 messages"] if name == "whole" else [])


def test_messages_of_any_size(stub):
    with stub.talk() as talk:
        for size in (0, 1, 125, 126, 127, 128, 16_384, 65_535, 65_536, 300_000, LARGEST):
            data = os.urandom(size)
            talk.send("each", data)
            assert talk.receive() == data
        talk.end()
        assert talk.rest() == []


def test_replies_of_every_type(stub):
    with stub.talk() as talk:
        talk.send("each", b"text", b"object", b"word")
        talk.end()
        assert talk.rest() == ["한국".encode(), b'{"a": 1}', b'{"dcf": "end"}']


def test_one_message_has_many_replies(stub):
    with stub.talk() as talk:
        talk.send("whole", b"many")
        talk.end()
        *numbers, many, count = talk.rest()
    assert numbers == [b"%d" % number for number in range(20_000)]
    assert (many, count) == (b"many", b"1 messages")


def test_several_functions_in_one_call(stub):
    with stub.talk() as talk:
        for number in range(200):
            talk.send("each", b"e%d" % number)
            talk.send("whole", b"w%d" % number)
        talk.end()
        replies = talk.rest()
    each = [reply for reply in replies if reply.startswith(b"e")]
    whole = [reply for reply in replies if not reply.startswith(b"e")]
    assert each == [b"e%d" % n for n in range(200)]
    assert whole == [*(b"w%d" % n for n in range(200)), b"200 messages"]


def test_a_call_without_a_message(stub):
    with stub.talk() as talk:
        talk.end()
        assert talk.rest() == []


def test_a_function_that_ends_first_ends_the_call(stub):
    with stub.talk() as talk:
        talk.send("whole", b"a", b"stop")
        assert talk.rest() == [b"a"]


def test_a_function_that_ends_first_leaves_the_others(stub):
    with stub.talk() as talk:
        talk.send("each", b"a")
        talk.send("whole", b"stop")
        talk.receive()
        time.sleep(0.1)
        talk.send("whole", b"nobody reads it")
        talk.send("each", b"b")
        talk.end()
        assert talk.rest() == [b"b"]


def test_the_handler_receives_headers_of_the_call(stub):
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = [
        ("x-request-id", "my-own"),
        ("traceparent", traceparent),
        ("authorization", "Bearer secret"),
    ]
    with stub.talk(metadata=metadata, timeout=10) as talk:
        talk.send("each", b"headers")
        seen = json.loads(talk.receive())
    assert seen["x-request-id"] == "my-own"
    assert seen["traceparent"] == traceparent
    assert {"authorization", "grpc-timeout", "x-dcf-deadline-ms"}.isdisjoint(seen)


# Errors


def test_an_error_of_one_message_takes_the_place_of_its_reply(stub):
    with stub.talk(metadata=[("x-request-id", "an-id")]) as talk:
        talk.send("each", b"a", b"bad", b"b")
        talk.end()
        first, problem, last = talk.rest()
    assert (first, last) == (b"a", b"b")
    members = json.loads(problem)
    assert (members["error"], members["request_id"]) == ("BadRequest", "an-id")
    assert "expected a number" in members["detail"]


def test_a_handler_that_raises_ends_the_stream_with_its_error(stub, plane):
    with stub.talk() as talk:
        talk.send("each", b"a", b"raise")
        assert talk.receive() == b"a"
        code, message = talk.failure()
    assert code is Code.INTERNAL
    assert message.startswith('LookupError: nothing "here"\t\\ 한국 \U0001f600\nTraceback')
    assert "src/handler.py" in message


def test_a_generator_that_raises_ends_the_stream_with_its_error(stub, replicas):
    with stub.talk() as talk:
        talk.send("whole", b"a", b"raise")
        assert talk.receive() == b"a"
        code, message = talk.failure()
    assert code is Code.INTERNAL
    assert "LookupError: in the middle" in message


def test_a_long_message_loses_its_middle_and_fits_a_header(stub):
    with stub.talk() as talk:
        talk.send("each", b"deep")
        code, message = talk.failure()
    assert code is Code.INTERNAL
    assert message.startswith("LookupError: 한한")
    assert "[...]" in message
    assert LONGEST_MESSAGE / 2 < len(message.encode()) * 3 < LONGEST_MESSAGE * 1.6


def test_an_error_of_one_function_ends_the_whole_call(stub, replicas):
    ended = count_in_log(replicas["whole"], "ended after")
    with stub.talk() as talk:
        talk.send("whole", b"a")
        talk.receive()
        talk.send("each", b"raise")
        assert talk.failure()[0] is Code.INTERNAL
    until(lambda: count_in_log(replicas["whole"], "ended after") > ended)


def test_a_function_without_a_listening_replica_is_unavailable(stub, plane, folder):
    plane.set("gone", f"unix:{folder}/gone.sock")
    with stub.talk() as talk:
        talk.send("gone", b"x")
        assert talk.failure() == (Code.UNAVAILABLE, "no connection to gone")


def test_a_replica_that_ends_during_the_stream_is_reported(stub, plane, tmp_path, folder):
    with launching(tmp_path, folder / "more") as start:
        (folder / "more").mkdir()
        plane.set("brittle", start(EACH, function="brittle").endpoint)
        with stub.talk() as talk:
            talk.send("brittle", b"a")
            assert talk.receive() == b"a"
            talk.send("brittle", b"end")
            code, message = talk.failure()
    assert (code, message) == (Code.UNAVAILABLE, "the connection was closed during the stream")


def test_more_streams_than_a_function_accepts_are_rejected(stub, plane, tmp_path, folder):
    (folder / "few").mkdir()
    with launching(tmp_path, folder / "few") as start:
        few = start(WHOLE, function="few", concurrency=1, queue=0)
        plane.set("few", few.endpoint)
        with stub.talk() as first, stub.talk() as second:
            first.send("few", b"a")
            assert first.receive() == b"a"
            second.send("few", b"a")
            assert second.failure()[0] is Code.RESOURCE_EXHAUSTED


def test_an_unknown_function_is_rejected_with_suggestions(short_dir):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = to_problem(FunctionNotFound("there is no function eech", ("each", "reach")))
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    with running(short_dir) as plane, connected(plane.port) as stub:
        plane.serve(plane.sockets.control, answer)
        plane.start_bridge()
        with stub.talk() as talk:
            talk.send("eech", b"x")
            code, message = talk.failure()
    assert code is Code.NOT_FOUND
    assert message == "there is no function eech (did you mean each or reach?)"


# Bad input


@pytest.mark.parametrize(
    "name", ["", "a/b", "a?b", "..", "../x", "한", "a b", "x" * 200, "a\r\nb: c"]
)
def test_an_invalid_name_is_rejected(stub, name):
    with stub.talk() as talk:
        talk.send(name, b"x")
        message = f"Service: expected a function's name, got {name!r:.100}"
        assert talk.failure() == (Code.INVALID_ARGUMENT, message)


def raw(stub: Stub, *data: bytes, **more):
    made = stub._channel.stream_stream("/pb.Gateway/Invokes")
    return made(iter(data), timeout=PATIENCE, **more)


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x7feach", b"\x08\x01", b"\xff" * 100])
def test_a_malformed_message_is_rejected(stub, data):
    code, message = failure(lambda: list(raw(stub, data)))
    assert code is Code.INVALID_ARGUMENT
    assert "malformed" in message


def test_a_compressed_message_is_rejected(stub):
    request = messages()["InvokeServiceRequest"](Service="each", Input=b" " * 1000)
    compressed = {"compression": grpc.Compression.Gzip}
    code, message = failure(lambda: list(raw(stub, request.SerializeToString(), **compressed)))
    assert code is Code.UNIMPLEMENTED
    assert "compressed" in message


def test_messages_over_the_limit_are_rejected(stub):
    for name, data in (
        ("each", b"x" * (LARGEST + 1)),
        ("each", b"x" * 2 * LARGEST),
        ("each", b"large"),
    ):
        with stub.talk() as talk:
            talk.send(name, data)
            code, message = talk.failure()
        assert code is Code.RESOURCE_EXHAUSTED
        assert str(LARGEST) in message


# Clients that disconnect, and slow clients and handlers


def test_a_client_that_disconnects_ends_the_handlers(stub, replicas):
    ended = count_in_log(replicas["whole"], "ended after 1\n")
    with stub.talk() as talk:
        talk.send("whole", b"a")
        talk.receive()
        talk.call.cancel()
        until(lambda: count_in_log(replicas["whole"], "ended after 1\n") > ended)


def test_a_passed_deadline_ends_the_handlers(stub, replicas):
    ended = count_in_log(replicas["whole"], "ended after")
    with stub.talk(timeout=0.5) as talk:
        talk.send("whole", b"a", b"wait")
        assert talk.failure()[0] is Code.DEADLINE_EXCEEDED
    until(lambda: count_in_log(replicas["whole"], "ended after") > ended)


def sent_by(replica) -> int:
    return max(
        (int(line.split()[1]) for line in replica.log.splitlines() if line.startswith("sent ")),
        default=0,
    )


def test_a_client_that_does_not_read_pauses_the_handler(plane, replicas):
    # Its own channel has a fixed window, which fills up.
    fixed: dict[str, Any] = {"grpc.http2.bdp_probe": 0}
    with connected(plane.port, **fixed) as stub, stub.talk() as talk:
        talk.send("whole", b"flood")
        talk.receive()
        until(lambda: settled(lambda: sent_by(replicas["whole"])))
        count = sent_by(replicas["whole"])
        assert count < 150, "15 MB"
        for _ in range(count):
            talk.receive()
        until(lambda: sent_by(replicas["whole"]) > count)


def settled(measure, seconds: float = 0.3) -> bool:
    before: int = measure()
    time.sleep(seconds)
    after: int = measure()
    return before == after


def test_a_handler_that_does_not_read_pauses_the_client_and_notices_its_disconnect(plane, replicas):
    taken = 0
    ended = count_in_log(replicas["whole"], "ended after")

    def feed():
        nonlocal taken
        request = messages()["InvokeServiceRequest"]
        yield request(Service="whole", Input=b"wait").SerializeToString()
        data = request(Service="whole", Input=bytes(100_000)).SerializeToString()
        while taken < 1000:
            taken += 1
            yield data

    with connected(plane.port) as stub:
        call = stub._channel.stream_stream("/pb.Gateway/Invokes")(feed(), timeout=PATIENCE)
        until(lambda: taken > 5 and settled(lambda: taken))
        assert taken < 300, "30 MB"
        call.cancel()
        until(lambda: count_in_log(replicas["whole"], "ended after") > ended)


def test_many_streams_at_a_time(stub, replicas):
    replies: dict[int, list[bytes]] = {}

    def talk(number: int) -> None:
        with stub.talk() as stream:
            stream.send("each", *(b"%d-%d" % (number, part) for part in range(20)))
            stream.end()
            replies[number] = stream.rest()

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == {n: [b"%d-%d" % (n, part) for part in range(20)] for n in range(30)}
