"""Streams over HTTP: bodies that come in chunks or lines, replies in chunks, lines or events."""

import json
import time

import pytest

from dcf import errors
from process.websockets_client import Bare

KINDS = pytest.mark.parametrize("kind", ["", "async "])
LINES = "application/x-ndjson"
EVENTS = "text/event-stream"


class Sender(Bare):
    """A connection on which a body is written while its reply is read."""

    def begin(self, *headers: str, path: str = "/") -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def line(self) -> bytes:
        return self.until(b"\r\n")[:-2]

    def head(self) -> dict[str, str]:
        status = self.line().decode().split(" ")[1]
        headers = {"status": status}
        while line := self.line().decode():
            name, _, value = line.partition(": ")
            headers[name] = value
        return headers

    def chunk(self) -> bytes:
        data = self.exactly(int(self.line(), 16))
        assert self.line() == b""
        return data

    def rest(self) -> bytes:
        found = b""
        while chunk := self.chunk():
            found += chunk
        return found


GENERATOR = """
{kind}def Handler(req):
    if req.path == "/kinds":
        yield {{"a": [1]}}
        yield "two\\nlines"
        yield b"bytes"
        yield b"\\xff"
    elif req.path == "/raise":
        yield "one"
        raise OSError("lost")
    elif req.path == "/object":
        yield object()
    elif req.path == "/early":
        yield b"done with " + req.input
    elif req.path == "/still":
        yield "begun"
        {kind}for message in req.stream:
            pass
    else:
        {kind}for message in req.stream:
            yield b"<" + message + b">"
"""


@KINDS
def test_a_body_in_chunks_is_a_stream(launch_shared, kind):
    running = launch_shared(GENERATOR.format(kind=kind))
    with Sender(running) as sender:
        sender.begin()
        sender.send(b"one")
        head = sender.head()  # while the body is still coming
        assert (head["status"], head["content-type"]) == ("200", "application/octet-stream")
        assert sender.chunk() == b"<one>"
        sender.send(b"two")
        assert sender.chunk() == b"<two>"
        sender.send(b"")
        assert sender.chunk() == b""
        # The connection goes on.
        sender.begin(path="/early")
        sender.send(b"a")
        assert sender.head()["status"] == "200"
        assert sender.rest() == b"done with a"
        sender.send(b"what nobody reads")
        sender.send(b"")
        sender.begin()
        sender.send(b"")
        assert sender.head()["status"] == "200"
        assert sender.rest() == b""
    assert running.call(b"one message") == b"<one message>"


@KINDS
def test_lines_are_messages(launch_shared, kind):
    running = launch_shared(GENERATOR.format(kind=kind))
    with Sender(running) as sender:
        sender.begin(f"Content-Type: {LINES}; charset=utf-8")
        sender.send(b'{"a": 1}\n{"b"')
        sender.head()
        assert sender.chunk() == b'<{"a": 1}>'
        sender.send(b": 2}\r\n\n  \n[3]")
        sender.send(b"")
        assert sender.rest() == b'<{"b": 2}><[3]>'
    for length in ({}, {"accept": LINES}):
        answer = running.client().call(b"1\n2\n", headers={"content-type": LINES, **length})
        assert answer.read() == (b'"<1>"\n"<2>"\n' if length else b"<1\n2\n>")


@KINDS
def test_the_form_of_the_replies_is_asked_for(launch_shared, kind):
    running = launch_shared(GENERATOR.format(kind=kind))

    def ask(path: str, accept: str):
        answer = running.client().call(b"", path=path, headers={"accept": accept})
        return answer, answer.read()

    answer, lines = ask("/kinds", f"text/html, {LINES};q=0.5")
    assert answer.headers["content-type"] == LINES
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"a": [1]}, "two\nlines", "bytes", {"base64": "/w=="}]  # fmt: skip
    answer, events = ask("/kinds", EVENTS)
    assert answer.headers["content-type"] == EVENTS
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert events == (
        b'data: {"a": [1]}\n\ndata: two\ndata: lines\n\ndata: bytes\n\n'
        b'data: {"base64": "/w=="}\n\nevent: end\ndata:\n\n'
    )
    answer, raw = ask("/kinds", "*/*")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert raw == b'{"a": [1]}\ntwo\nlinesbytes\xff'


@KINDS
def test_an_error_in_mid_stream_is_told_where_that_can_be(launch, kind):
    running = launch(GENERATOR.format(kind=kind), idle_timeout=0.3)

    def ask(path: str, accept: str) -> bytes:
        found: bytes = running.call(b"", path=path, headers={"accept": accept})
        return found

    first, last = map(json.loads, ask("/raise", LINES).splitlines())
    assert first == "one"
    assert (last["error"]["error"], last["error"]["status"]) == ("HandlerRaised", 500)
    assert "OSError: lost" in last["error"]["traceback"]
    events = ask("/raise", EVENTS).split(b"\n\n")
    assert events[0] == b"data: one"
    kind_, _, data = events[1].partition(b"\ndata: ")
    assert kind_ == b"event: error"
    assert json.loads(data)["detail"] == "OSError: lost"
    assert events[2:] == [b""]
    with Sender(running) as sender:
        sender.begin(f"Accept: {LINES}", path="/still")
        sender.send(b"a")
        sender.head()
        assert sender.chunk() == b'"begun"\n'
        error = json.loads(sender.chunk())["error"]
        assert (error["error"], error["status"]) == ("DeadlineExceeded", 504)
        assert sender.chunk() == b""
    with Sender(running) as sender:
        sender.begin(path="/still")  # nothing comes: it has not begun
        assert sender.head()["status"] == "504"
    with Sender(running) as sender:
        sender.begin(f"Accept: {EVENTS}", path="/object")
        sender.send(b"a")
        assert sender.head()["status"] == "500"


@KINDS
def test_any_other_handler_answers_each_line(launch, kind):
    running = launch(
        f"""
        from dcf import BadRequest
        {kind}def Handler(req):
            value = req.json()
            if value == 0:
                raise BadRequest("nothing to divide")
            return {{"half": value / 2}}
        """,
        max_message=100,
    )
    given = {"content-type": LINES, "accept": LINES}
    answer = running.client().call(b"1\n0\nx\n4", headers=given)
    assert answer.headers["content-type"] == LINES
    found = [json.loads(line) for line in answer.read().splitlines()]
    assert [found[0], found[3]] == [{"half": 0.5}, {"half": 2.0}]
    assert found[1]["error"]["detail"] == "nothing to divide"
    assert found[2]["error"]["error"] == "BadRequest"
    events = running.client().call(b"2\n", headers={**given, "accept": EVENTS}).read()
    assert events == b'data: {"half": 1.0}\n\nevent: end\ndata:\n\n'
    with Sender(running) as sender:
        sender.begin(f"Content-Type: {LINES}", f"Accept: {LINES}")
        for number in (6, 8):
            sender.send(b"%d\n" % number)
            if number == 6:
                assert sender.head()["status"] == "200"
            assert json.loads(sender.chunk()) == {"half": number / 2}
        sender.send(b"1" * 101)
        assert json.loads(sender.chunk())["error"]["error"] == "BodyTooLarge"
        assert sender.chunk() == b""
    assert running.call(b"7", headers={"content-type": LINES}) == b'{"half": 3.5}'


@KINDS
def test_a_handler_whose_sender_is_gone_is_ended(launch, kind, tmp_path):
    mark = tmp_path / "ended"
    running = launch(
        f"""
        import pathlib
        {kind}def Handler(req):
            try:
                {kind}for message in req.stream:
                    yield message
            finally:
                pathlib.Path({str(mark)!r}).write_text(str(req.cancelled))
        """,
        concurrency=1,
    )
    with Sender(running) as sender:
        sender.begin()
        sender.send(b"one")
        sender.head()
        assert sender.chunk() == b"one"
    assert running.call(b"next") == b"next"
    _wait_for(lambda: mark.exists() and mark.read_text())


@KINDS
def test_a_slow_handler_slows_the_sender(launch, kind, tmp_path):
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
            yield str(count)
        """
    )
    with Sender(running) as sender:
        sender.begin()
        sent = 0
        sender.socket.settimeout(0.3)
        try:
            while sent < 20_000_000:
                sender.send(bytes(10_000))
                sent += 10_000
        except TimeoutError:
            pass
        assert sent < 4_000_000
    go.touch()


@KINDS
def test_a_reader_who_stands_still_holds_no_place(launch, kind):
    running = launch(
        f"""
        {kind}def Handler(req):
            for _ in range(100 if req.path == "/much" else 1):
                yield bytes(100_000)
        """,
        concurrency=1,
        queue=0,
        idle_timeout=0.3,
    )
    with Sender(running) as sender:
        sender.socket.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                assert len(running.call()) == 100_000
                break
            except errors.Overloaded:
                time.sleep(0.05)
        else:
            pytest.fail("the place was not given back")
        assert not sender.all().endswith(b"0\r\n\r\n")
    assert "ASGI" not in running.log


def _wait_for(condition) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
