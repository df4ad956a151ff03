"""Calls through a real watcher."""

import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dcf import errors
from process.conftest import Running

ECHO = """
class Handler:
    def __call__(self, req):
        return req.input
"""

ABOUT = """
class Handler:
    def __call__(self, req):
        return {"method": req.method, "path": req.path, "query": req.query,
                "type": req.content_type, "agent": req.headers["User-Agent"],
                "function": str(req.info), "id": req.info.request_id,
                "remaining": req.remaining, "cancelled": req.cancelled}
"""


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"\x00\xff" * 50_000, b"m" * 20_000_000],
    ids=["empty", "1 B", "100 kB", "20 MB"],
)
def test_bytes_come_back_as_they_went(launch, body):
    assert launch(ECHO).call(body) == body


def test_a_body_of_200_mb(launch):
    running = launch("def Handler(req): return str(len(req.input))")
    assert running.call(bytes(200_000_000)) == b"200000000"


def test_a_body_over_the_limit_is_refused(launch):
    running = launch(ECHO, max_body=1000)
    assert running.call(bytes(1000)) == bytes(1000)
    with pytest.raises(errors.CallError, match="larger than the limit of 1000 bytes"):
        running.call(bytes(1001))


def test_a_chunked_body_over_the_limit_is_refused(launch):
    running = launch(ECHO, max_body=1000)
    with pytest.raises(errors.CallError, match="larger than the limit"):
        running.call(iter([bytes(600), bytes(600)]))


def test_a_chunked_body_arrives_whole(launch):
    running = launch(ECHO)
    parts = [b"one ", b"two ", b"three" * 100_000]
    answer = running.call(iter(parts))
    assert answer == b"".join(parts)


def test_the_request_tells_all_of_itself(launch):
    running = launch(ABOUT, function="about")
    headers = {"Content-Type": "Text/CSV; charset=utf-8", "User-Agent": "me", "X-Request-Id": "a1"}
    found = json.loads(running.call(path="/function/about/x/y?a=1&b=", headers=headers))
    assert 299 < found.pop("remaining") <= 300
    assert found == {
        "method": "POST",
        "path": "/x/y",
        "query": {"a": "1", "b": ""},
        "type": "text/csv",
        "agent": "me",
        "function": "about",
        "id": "a1",
        "cancelled": False,
    }


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/", "/"), ("/a/b", "/a/b"), ("/function/about", "/"), ("/function/about/", "/")],
)
def test_paths_with_and_without_a_gateway(launch, path, seen):
    running = launch("def Handler(req): return req.path", function="about")
    assert running.call(path=path).decode() == seen


def test_another_functions_path_is_refused(launch):
    with pytest.raises(errors.FunctionNotFound, match="expected a call of mine, got one of yours"):
        launch(ECHO, function="mine").call(path="/function/yours")


def test_every_reply_has_an_id_and_a_timing(launch):
    running = launch(ECHO)
    first = running.client().call(b"")
    second = running.client().call(b"")
    first.read(), second.read()
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["server-timing"].startswith("queue;dur=")
    assert ", handler;dur=" in first.headers["server-timing"]


def test_behind_a_gateway_it_is_the_one_who_names_calls(launch):
    running = launch("def Handler(req): return str(1 / int(req.text))", request_ids=False)
    for sent, status in ((b"1", 200), (b"0", 500)):
        head, _, body = answer(running, sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nserver-timing: " in head
        assert b"x-request-id" not in head
    assert json.loads(body)["request_id"] == "mine"
    assert "call mine: Traceback" in running.log


def answer(running: Running, body: bytes) -> bytes:
    """A whole reply, to the byte."""
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: mine\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(running.endpoint.removeprefix("unix:"))
        connection.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        return b"".join(iter(partial(connection.recv, 65536), b""))


def test_an_exception_is_told_and_the_replica_lives_on(launch):
    running = launch(
        """
        def check(value):
            raise ValueError("cannot use " + value)

        class Handler:
            def __call__(self, req):
                if req.input == b"bad":
                    check("this")
                return "fine"
        """
    )
    with pytest.raises(errors.HandlerRaised, match="ValueError: cannot use this") as caught:
        running.call(b"bad")
    assert caught.value.exception == "ValueError"
    lines = caught.value.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('handler.py", line 8, in __call__')
    assert "dcf/watcher" not in caught.value.traceback
    assert running.call(b"good") == b"fine"
    assert "cannot use this" in running.log


@pytest.mark.parametrize("way", ["sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_what_would_end_a_program_ends_one_call(launch, way):
    running = launch(
        f"""
        import sys
        def Handler(req):
            if req.input:
                return b"alive"
            {way}
        """
    )
    with pytest.raises(errors.HandlerRaised):
        running.call()
    assert running.call(b"x") == b"alive"


def test_a_body_that_is_not_json_is_the_callers_fault(launch):
    running = launch("def Handler(req): return req.json()")
    assert running.call(b'{"a": 1}') == b'{"a": 1}'
    with pytest.raises(errors.BadRequest, match="the body is not valid JSON"):
        running.call(b"{")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("None", r"got None \(is a return missing\?\)"),
        ("object()", "a generator of these, got a value of type object"),
        ("{'a': {1, 2}}", "expected values that JSON can represent, got a value of type set"),
        ("{'a': float('nan')}", "cannot be encoded as JSON"),
        ("3", "a generator of these, got a value of type int"),
    ],
)
def test_a_reply_that_cannot_be_sent(launch, reply, message):
    with pytest.raises(errors.UnsupportedReply, match=message):
        launch(f"def Handler(req): return {reply}").call()


def test_reply_sets_status_type_and_headers(launch):
    running = launch(
        """
        from dcf import Reply
        def Handler(req):
            return Reply({"error": "no"}, status=418, headers={"X-Tea": "pot"})
        """
    )
    answer = running.client().call(b"")
    assert (answer.status, answer.headers["x-tea"]) == (418, "pot")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.read()) == {"error": "no"}


def test_what_the_handler_prints_goes_to_the_log(launch):
    running = launch(
        """
        import os, sys, subprocess
        class Handler:
            def __call__(self, req):
                print("from print")
                os.write(1, b"from descriptor one\\n")
                subprocess.run(["echo", "from a child"])
                print("x" * 5_000_000)
                return b"reply"
        """
    )
    assert running.call() == b"reply"
    for text in ("from print", "from descriptor one", "from a child", "x" * 5_000_000):
        assert text in running.log


def test_standard_input_is_at_its_end(launch):
    running = launch("import sys\ndef Handler(req): return repr(sys.stdin.read())")
    assert running.call() == b"''"


def test_the_working_directory_and_import_root_are_the_handlers_folder(launch):
    running = launch(
        """
        import os, sys
        here = os.path.dirname(os.path.realpath(__file__))
        def Handler(req):
            return {"cwd": os.getcwd() == here, "path": sys.path[0] == here,
                    "name": __name__, "known": sys.modules["handler"].here == here}
        """
    )
    found = json.loads(running.call())
    assert found == {"cwd": True, "path": True, "name": "handler", "known": True}


def test_one_call_at_a_time_in_one_thread(launch):
    running = launch(
        """
        import threading, time
        class Handler:
            def __init__(self):
                self.thread, self.inside = threading.get_ident(), 0
            def __call__(self, req):
                self.inside += 1
                time.sleep(0.02)
                alone = self.inside == 1 and threading.get_ident() == self.thread
                self.inside -= 1
                return str(alone)
        """
    )
    assert _at_once(running, 8) == [b"True"] * 8


def test_concurrency_runs_plain_handlers_side_by_side(launch):
    running = launch(
        """
        import threading
        all_here = threading.Barrier(4)
        def Handler(req):
            return str(all_here.wait(timeout=10) in range(4))
        """,
        concurrency=4,
    )
    assert _at_once(running, 4) == [b"True"] * 4


def test_async_handlers_run_side_by_side_unasked(launch):
    running = launch(
        """
        import asyncio
        class Handler:
            def __init__(self):
                self.loop, self.here, self.all = asyncio.get_running_loop(), 0, asyncio.Event()
            async def __call__(self, req):
                self.here += 1
                if self.here == 20:
                    self.all.set()
                await asyncio.wait_for(self.all.wait(), 10)
                return str(asyncio.get_running_loop() is self.loop)
        """
    )
    assert _at_once(running, 20) == [b"True"] * 20


def test_async_concurrency_is_bounded(launch):
    running = launch(
        """
        import asyncio
        inside = most = 0
        async def Handler(req):
            global inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.03)
            inside -= 1
            return str(most)
        """,
        concurrency=3,
    )
    assert max(int(reply) for reply in _at_once(running, 12)) == 3


def test_an_async_handler_that_raises(launch):
    running = launch("async def Handler(req): raise OSError('no camera')")
    with pytest.raises(errors.HandlerRaised, match="OSError: no camera"):
        running.call()


def test_health_answers_while_a_model_computes(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return b''")
    caller = threading.Thread(target=running.call)
    caller.start()
    latch.reached()
    assert running.client().call(b"", method="GET", path="/-/health").read() is not None
    assert running.client().call(b"", method="GET", path="/-/ready").read() is not None
    latch.open()
    caller.join()


def test_a_full_queue_is_told_at_once(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return b''", queue=2)
    results: list[object] = []

    def call() -> None:
        try:
            results.append(running.call())
        except errors.Overloaded as error:
            results.append(error)

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    until = time.monotonic() + 20
    while len(results) < 3:  # those for whom there is no room
        assert time.monotonic() < until, results
        time.sleep(0.005)
    with pytest.raises(errors.Overloaded, match="1 running and 2 waiting"):
        running.call()
    latch.open()
    for caller in callers:
        caller.join()
    assert [result == b"" for result in results].count(True) == 3
    assert running.call() == b""


def test_what_a_gateway_has_held_is_not_refused(launch):
    running = launch("import time\ndef Handler(req): time.sleep(0.1); return b'done'", queue=0)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(running.call, headers={"x-dcf-held-ms": "12"}) for _ in range(4)]
    assert [call.result() for call in calls] == [b"done"] * 4


def test_overload_says_when_to_try_again(launch, latch):
    running = launch(latch.source + "def Handler(req): wait(); return b''", queue=0)
    caller = threading.Thread(target=running.call)
    caller.start()
    latch.reached()
    with _connected(running) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        head = answer_of(connection).decode()
    latch.open()
    caller.join()
    assert head.startswith("HTTP/1.1 503 ")
    assert "retry-after: 1\r\n" in head
    assert "content-type: application/problem+json\r\n" in head


def test_head_and_get_and_an_empty_reply(launch):
    running = launch("def Handler(req): return b''")
    with _connected(running) as connection:
        for method in ("HEAD", "GET", "DELETE"):
            connection.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer_of(connection, method).startswith(b"HTTP/1.1 200 OK\r\n")


def test_expect_continue_is_honoured(launch):
    running = launch(ECHO)
    with _connected(running) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert answer_of(connection).endswith(b"\r\n\r\nhi")


def test_a_connection_lives_on_after_an_error_and_ends_when_a_body_was_not_read(launch):
    running = launch("def Handler(req): return 1 / 0", max_body=10)
    with _connected(running) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = answer_of(connection)
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"connection: close" not in answer
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer


@pytest.mark.parametrize("value", ["", "-5", "soon", "1e3", "9" * 100])
def test_a_deadline_that_is_none_is_ignored(launch, value):
    assert launch(ECHO).call(b"x", headers={"X-Dcf-Deadline-Ms": value}) == b"x"


def test_a_client_that_asks_for_it_has_its_connection_closed(launch):
    running = launch(ECHO)
    for head in (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
        b"POST / HTTP/1.0\r\n",
    ):
        with _connected(running) as connection:
            connection.sendall(head + b"Content-Length: 2\r\n\r\nhi")
            # To the end of the connection, which is the point.
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.endswith(b"\r\n\r\nhi")


def test_requests_that_come_together_are_answered_in_order(launch):
    running = launch(ECHO)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d"
    with _connected(running) as connection:
        connection.sendall(b"".join(request % number for number in range(10)))
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 10 or not answer.endswith(b"9"):
            answer += connection.recv(65536)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1")[1:]] == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("status", [201, 204, 304, 404, 599])
def test_statuses(launch, status):
    running = launch(f"from dcf import Reply\ndef Handler(req): return Reply('', status={status})")
    with _connected(running) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer_of(connection).startswith(b"HTTP/1.1 %d " % status)


def test_what_is_no_http_is_refused(launch):
    running = launch(ECHO)
    with _connected(running) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert running.call(b"x") == b"x"


def answer_of(connection: socket.socket, method: str = "POST") -> bytes:
    """One whole answer, in however many pieces it comes."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    while method != "HEAD" and length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _connected(running) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(running.endpoint.removeprefix("unix:"))
    return connection


def _at_once(running, count: int) -> list[bytes]:
    results: list[bytes] = []
    callers = [
        threading.Thread(target=lambda: results.append(running.call())) for _ in range(count)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return results
