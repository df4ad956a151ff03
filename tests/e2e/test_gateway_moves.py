"""Calls whose handler has not begun move to another replica; each call begins at most once."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from e2e.gateway_process import GatewayProcess, running

pytestmark = pytest.mark.slow

WORK = """
import json, os, time

class Handler:
    def __call__(self, req):
        text = req.input[:200].strip(b" ").decode()
        act = json.loads(text) if text else {}
        with open(os.environ["BEGUN"], "a") as file:  # one write, so lines are whole
            file.write(f"{req.request_id} {os.getpid()}\\n")
        if "gone" in act:
            end = time.monotonic() + act["gone"]
            while time.monotonic() < end and not req.cancelled:
                time.sleep(0.01)
        time.sleep(act.get("sleep", 0))
        if act.get("exit"):
            os._exit(9)
        return {"pid": os.getpid(), "id": req.request_id, "size": len(req.input)}
"""

REPLAY = 1024 * 1024


class Function:
    """A deployed function, with the record that its replicas write about the calls that began."""

    def __init__(self, gateway: GatewayProcess, name: str, *options: str, config: str = "") -> None:
        self.gateway = gateway
        self.name = name
        self.begun_file = gateway.folder / f"{name}.begun"
        self.begun_file.touch()
        gateway.deploy(
            gateway.write(
                name, WORK, config=f"    environment: {{BEGUN: {self.begun_file}}}\n{config}"
            ),
            *options,
        )

    def call(self, act: dict[str, object], id_: str, size: int = 0, **headers: str) -> Reply:
        began = time.monotonic()
        body = json.dumps(act).encode().ljust(size)
        sent_headers = {"X-Request-Id": id_, **{k.replace("_", "-"): v for k, v in headers.items()}}
        status, received, text = self.gateway.request(
            "POST", f"/function/{self.name}", body, sent_headers
        )
        return Reply(status, received, text, time.monotonic() - began)

    def burst(self, acts: list[dict[str, object]], tag: str, apart: float = 0.0) -> list[Reply]:
        """Make concurrent calls; return the replies in the order of the calls."""
        replies: dict[int, Reply] = {}

        def run(index: int) -> None:
            replies[index] = self.call(acts[index], f"{tag}-{index}")

        threads = [threading.Thread(target=run, args=(index,)) for index in range(len(acts))]
        for thread in threads:
            thread.start()
            time.sleep(apart)
        for thread in threads:
            thread.join()
        return [replies[index] for index in range(len(acts))]

    def begun(self) -> Counter[str]:
        """Return how often each call began, by its id."""
        lines = self.begun_file.read_text().splitlines()
        return Counter(line.split()[0] for line in lines)

    def has_begun(self, id_: str) -> bool:
        return self.begun()[id_] > 0


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes, seconds: float) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.seconds = seconds

    @property
    def pid(self) -> int:
        return int(json.loads(self.body)["pid"])

    def __repr__(self) -> str:
        return f"{self.status} {self.headers.get('x-dcf-begun')} {self.body[:200]!r}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        yield gateway


def test_a_burst_moves_to_the_replicas_that_start_for_it(gateway: GatewayProcess) -> None:
    function = Function(gateway, "burst", "--min", "1", "--max", "4")
    began = time.monotonic()
    replies = function.burst([{"sleep": 2}] * 16, "burst")
    took = time.monotonic() - began
    assert [reply.status for reply in replies] == [200] * 16
    assert took < 11
    assert len({reply.pid for reply in replies}) == 4
    assert set(function.begun().values()) == {1}
    assert gateway.client.function("burst").invocations >= 16
    gateway.until(lambda: gateway.client.function("burst").invocations == 16)


def test_a_burst_from_zero_does_not_wait_for_the_first_replica_alone(
    gateway: GatewayProcess,
) -> None:
    function = Function(
        gateway, "cold", "--min", "0", "--max", "4", config="    scaling: {idle: 1}\n"
    )
    gateway.until(lambda: not gateway.replicas("cold"))
    began = time.monotonic()
    replies = function.burst([{"sleep": 2}] * 8, "cold")
    took = time.monotonic() - began
    assert [reply.status for reply in replies] == [200] * 8
    assert took < 7
    assert set(function.begun().values()) == {1}


@pytest.fixture(scope="module")
def single(gateway: GatewayProcess) -> Function:
    return Function(gateway, "single", "--min", "1", "--max", "1")


def test_calls_queued_behind_a_crash_run_in_the_next_replica(single: Function) -> None:
    acts: list[dict[str, object]] = [{"sleep": 1, "exit": True}]
    crashing = threading.Thread(target=lambda: acts.append(single.call(acts[0], "crash").__dict__))
    crashing.start()
    single.gateway.until(lambda: single.has_begun("crash"))
    replies = single.burst([{}] * 20, "behind")
    crashing.join()
    assert [reply.status for reply in replies] == [200] * 20
    crashed = acts[1]
    assert crashed["status"] == 502
    assert crashed["headers"]["x-dcf-begun"] == "true"  # type: ignore[index]
    assert json.loads(crashed["body"])["error"] == "ReplicaLost"  # type: ignore[arg-type]
    assert set(single.begun().values()) == {1}


def test_a_call_that_had_begun_fails_without_waiting_for_another_replica(
    gateway: GatewayProcess,
) -> None:
    # Its replicas crash repeatedly, so that the next replica starts only after a delay.
    function = Function(gateway, "crashing", "--min", "1", "--max", "1")
    for index in range(5):
        reply = function.call({"exit": True}, f"again-{index}")
        assert (reply.status, reply.headers["x-dcf-begun"]) == (502, "true"), reply
    assert set(function.begun().values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_calls_queued_in_a_killed_replica_run_elsewhere(
    single: Function, number: signal.Signals
) -> None:
    tag = f"sig{number}"
    running_call = threading.Thread(target=single.call, args=({"sleep": 1}, f"{tag}-first"))
    running_call.start()
    single.gateway.until(lambda: single.has_begun(f"{tag}-first"))
    bursts: list[list[Reply]] = []
    behind = threading.Thread(target=lambda: bursts.append(single.burst([{}] * 10, tag)))
    behind.start()
    time.sleep(0.3)
    (replica,) = single.gateway.replicas("single")
    os.kill(single.gateway.pid(replica), number)
    behind.join()
    running_call.join()
    assert [reply.status for reply in bursts[0]] == [200] * 10
    assert set(single.begun().values()) == {1}


def test_calls_queued_behind_a_hang_run_in_the_next_replica(gateway: GatewayProcess) -> None:
    function = Function(gateway, "hanging", "--min", "1", "--max", "1", config="    timeout: 8\n")
    hang: list[Reply] = []
    hanging = threading.Thread(target=lambda: hang.append(function.call({"sleep": 600}, "hang")))
    hanging.start()
    hanging.join()
    assert hang[0].status == 504
    # The handler has another 5 s of grace. Calls that arrive meanwhile wait for the handler or for
    # its end.
    replies = function.burst([{}] * 40, "behind-hang")
    assert [reply.status for reply in replies] == [200] * 40
    assert set(function.begun().values()) == {1}


def test_kills_at_any_moment_lose_only_calls_that_had_begun(gateway: GatewayProcess) -> None:
    function = Function(gateway, "killed", "--min", "4", "--max", "4")
    gateway.until(lambda: gateway.client.function("killed").ready == 4)
    random = Random(10)
    for number, replica in enumerate(gateway.replicas("killed")):
        pid = gateway.pid(replica)
        kill = threading.Timer(random.uniform(0.05, 0.4), os.kill, (pid, signal.SIGKILL))
        kill.start()
        replies = function.burst([{"sleep": 0.02}] * 60, f"kill-{number}")
        kill.join()
        begun = function.begun()
        assert set(begun.values()) == {1}
        assert {reply.status for reply in replies} <= {200, 502}
        lost = [index for index, reply in enumerate(replies) if reply.status == 502]
        assert len(lost) <= 1
        assert all(begun[f"kill-{number}-{index}"] for index in lost)


def test_idle_replicas_take_calls_that_wait_behind_a_long_call(gateway: GatewayProcess) -> None:
    function = Function(gateway, "uneven", "--min", "2", "--max", "2")
    gateway.until(lambda: gateway.client.function("uneven").ready == 2)
    acts: list[dict[str, object]] = [{"sleep": 8}, {"sleep": 1}, {"sleep": 1}, {"sleep": 1}]
    replies = function.burst(acts, "uneven", apart=0.05)
    assert [reply.status for reply in replies] == [200] * 4
    # Envoy sent one of the short calls to the replica with the long call.
    assert max(reply.seconds for reply in replies[1:]) < 6
    assert set(function.begun().values()) == {1}


def test_a_callers_deadline_ends_no_process(single: Function) -> None:
    pid = single.call({}, "pid-before").pid
    reply = single.call({"sleep": 7}, "short", X_Dcf_Deadline_Ms="300")
    assert reply.status == 504
    assert reply.seconds < 2
    # This call waits for the handler, which keeps running beyond the grace of 5 s.
    assert single.call({}, "pid-after").pid == pid


def test_a_callers_deadline_applies_while_the_replica_is_stopped(single: Function) -> None:
    (replica,) = single.gateway.replicas("single")
    pid = single.gateway.pid(replica)
    os.kill(pid, signal.SIGSTOP)
    try:
        reply = single.call({}, "stopped", X_Dcf_Deadline_Ms="500")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reply.status == 504
    assert json.loads(reply.body)["error"] == "DeadlineExceeded"
    assert 1 <= reply.seconds < 5


def test_the_error_of_a_large_call_that_had_begun_says_so(single: Function) -> None:
    reply = single.call({"exit": True}, "large-begun", size=3 * REPLAY)
    assert (reply.status, reply.headers["x-dcf-begun"]) == (502, "true")


def test_a_large_call_that_had_not_begun_can_be_repeated_by_its_caller(single: Function) -> None:
    running_call = threading.Thread(target=single.call, args=({"sleep": 30}, "large-first"))
    running_call.start()
    single.gateway.until(lambda: single.has_begun("large-first"))
    replies: list[Reply] = []
    large = threading.Thread(
        target=lambda: replies.append(single.call({}, "large-behind", size=3 * REPLAY))
    )
    large.start()
    time.sleep(1)
    (replica,) = single.gateway.replicas("single")
    single.gateway.kill(replica)
    large.join()
    running_call.join()
    assert (replies[0].status, replies[0].headers["x-dcf-begun"]) == (503, "false")
    assert replies[0].headers["retry-after"]
    assert not single.has_begun("large-behind")


def test_calls_as_large_as_the_replay_buffer_move(single: Function) -> None:
    crash = threading.Thread(target=single.call, args=({"sleep": 1, "exit": True}, "edge-crash"))
    crash.start()
    single.gateway.until(lambda: single.has_begun("edge-crash"))
    sizes = [REPLAY - 1, 900_000, 70_000, 100]
    replies: dict[int, Reply] = {}

    def run(size: int) -> None:
        replies[size] = single.call({}, f"edge-{size}", size=size)

    threads = [threading.Thread(target=run, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in (*threads, crash):
        thread.join()
    assert {size: reply.status for size, reply in replies.items()} == dict.fromkeys(sizes, 200)
    assert {json.loads(reply.body)["size"] for reply in replies.values()} == set(sizes)


def test_unfinished_bodies_do_not_occupy_slots(single: Function) -> None:
    address = ("127.0.0.1", single.gateway.port)
    slow = [socket.create_connection(address) for _ in range(140)]
    try:
        for connection in slow:
            connection.sendall(
                b"POST /function/single HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"
            )
        time.sleep(0.5)
        assert single.call({}, "beside-slow").status == 200
        # Each has ten seconds, and then a minimum rate.
        slow[0].settimeout(20)
        assert slow[0].recv(4096).startswith(b"HTTP/1.1 408 ")
    finally:
        for connection in slow:
            connection.close()


def test_streams_without_a_message_do_not_occupy_slots(single: Function) -> None:
    address = ("127.0.0.1", single.gateway.port)
    idle = [socket.create_connection(address, timeout=10) for _ in range(140)]
    try:
        for connection in idle:
            connection.sendall(
                b"GET /function/single HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
        for connection in idle:
            assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert single.call({}, "beside-idle").status == 200
    finally:
        for connection in idle:
            connection.close()


def test_the_memory_for_unfinished_uploads_is_bounded(single: Function) -> None:
    (replica,) = single.gateway.replicas("single")
    status = Path(f"/proc/{single.gateway.pid(replica)}/status")

    def resident() -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    before = resident()
    size = 150 * 1024**2
    head = (
        f"POST /function/single HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
    connections = [socket.create_connection(("127.0.0.1", single.gateway.port)) for _ in range(8)]
    part = bytes(1024 * 1024)

    def upload(connection: socket.socket) -> None:
        connection.settimeout(1)
        try:
            connection.sendall(head)
            for _ in range(149):
                connection.sendall(part)
        except TimeoutError:
            pass  # the replica stops reading it

    threads = [threading.Thread(target=upload, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = resident() - before
    for connection in connections:
        connection.close()
    assert grown < 450 * 1024**2
    assert single.call({}, "after-uploads").status == 200


def test_a_handlers_reply_cannot_request_another_attempt(gateway: GatewayProcess) -> None:
    handler = """
import dcf
count = 0

class Handler:
    def __call__(self, req):
        global count
        count += 1
        headers = {"X-Dcf-Move": "1", "X-Dcf-Begun": "false", "X-Mine": "yes"}
        return dcf.Reply(str(count), status=503, headers=headers)
"""
    gateway.deploy(gateway.write("pretends", handler))
    status, headers, body = gateway.request("POST", "/function/pretends")
    assert (status, body, headers["x-mine"]) == (503, b"1", "yes")
    assert "x-dcf-move" not in headers
    assert "x-dcf-begun" not in headers
