"""Calls that meet no replica: held until there is one, or told why there is none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dcf.dataplane.admin import get
from dcf.dataplane.bootstrap import Sockets
from e2e.gateway_process import GatewayProcess, running
from process.supervised import alive

Reply = tuple[int, dict[str, str], bytes]

SLOW = """
import os, pathlib, time

class Handler:
    def __init__(self):
        # As long as its test wants.
        while not pathlib.Path({path!r}).exists():
            time.sleep(0.01)

    def __call__(self, req):
        if req.input == b"pid":
            return str(os.getpid())
        if req.input == b"headers":
            return dict(req.headers)
        return req.input
"""

BROKEN = """
import pathlib, time

class Handler:
    def __init__(self):
        while not pathlib.Path({path!r}).exists():
            time.sleep(0.01)
        raise ValueError("no model")

    def __call__(self, req):
        return b""
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        yield house


class Slow:
    """A function whose constructor ends when it is let."""

    def __init__(self, house: GatewayProcess, name: str, source: str = SLOW) -> None:
        self._house = house
        self.name = name
        self._go = house.folder / f"{name}.go"
        folder = house.write(name, source.format(path=str(self._go)))
        house.deploy(folder, "--no-wait")

    def let(self) -> None:
        self._go.touch()

    def stop(self) -> None:
        self._go.unlink()


def held(house: GatewayProcess) -> int:
    """Calls that Envoy asks the control plane about now."""
    name = "cluster.Hold.upstream_rq_active"
    sockets = Sockets.under(house.places.gateway_runtime)
    text = get(sockets.admin, f"/stats?filter={name}", 5)[1].decode()
    return int(text.partition(": ")[2])


def _over(calls: list[Future[Reply]]) -> bool:
    """False; a call that was not held is told at once."""
    for call in calls:
        assert not call.done(), call.result()
    return False


@contextlib.contextmanager
def waiting(
    house: GatewayProcess, name: str, number: int, body: bytes = b"hello", **headers: str
) -> Iterator[list[Future[Reply]]]:
    """Calls that are held within the block."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    with ThreadPoolExecutor(number) as pool:
        calls = [
            pool.submit(house.request, "POST", f"/function/{name}", body, sent)
            for _ in range(number)
        ]
        house.until(lambda: held(house) == number or _over(calls))
        yield calls
    assert held(house) == 0


def bodies(calls: list[Future[Reply]]) -> set[tuple[int, bytes]]:
    return {(call.result()[0], call.result()[2]) for call in calls}


def test_a_burst_on_a_function_that_still_starts(house):
    slow = Slow(house, "slow")
    with waiting(house, "slow", 200) as calls:
        slow.let()
    assert bodies(calls) == {(200, b"hello")}
    timing = calls[0].result()[1]["server-timing"]
    assert "hold;dur=" in timing
    assert "handler;dur=" in timing
    # The next one waits for nothing.
    assert "hold" not in house.request("POST", "/function/slow", b"x")[1]["server-timing"]


def test_a_killed_replica_is_waited_for(house):
    slow = Slow(house, "killed")
    slow.let()
    house.until_ready("killed")
    first = int(house.call("killed", b"pid")[1])
    slow.stop()
    os.kill(first, signal.SIGKILL)
    # What is just being sent to it is lost with it: nobody knows whether it was begun.
    house.until(lambda: not alive(first))
    time.sleep(0.02)
    with waiting(house, "killed", 10, b"pid") as calls:
        slow.let()
    [(status, second)] = bodies(calls)
    assert (status, second != str(first).encode()) == (200, True)


def test_its_deadline_goes_on(house):
    slow = Slow(house, "dead")
    status, _, body = house.request(
        "POST", "/function/dead", b"x", {"x-dcf-deadline-ms": "300", "x-request-id": "mine"}
    )
    problem = json.loads(body)
    assert (status, problem["error"]) == (504, "DeadlineExceeded")
    assert problem["request_id"] == "mine"
    with waiting(house, "dead", 1, b"headers", x_dcf_deadline_ms="50000") as [call]:
        slow.let()
    seen = json.loads(call.result()[2])
    waited = int(seen["x-dcf-held-ms"])
    assert waited > 0
    assert abs(int(seen["x-dcf-deadline-ms"]) + waited - 50_000) <= 1


def test_a_start_that_fails_is_told_to_all_who_wait(house):
    broken = Slow(house, "broken", BROKEN)
    with waiting(house, "broken", 20) as calls:
        broken.let()
    for call in calls:
        status, headers, body = call.result()
        problem = json.loads(body)
        assert (status, problem["error"]) == (503, "HandlerInitFailed")
        assert "no model" in problem["traceback"]
        assert int(headers["retry-after"]) >= 1
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == problem["request_id"]


def test_a_killed_control_plane_loses_no_call_that_it_holds(house):
    slow = Slow(house, "patient")
    with waiting(house, "patient", 20) as calls:
        before = house.pid("gateway.control")
        house.kill("gateway.control")
        house.until(lambda: house.pid("gateway.control") not in {0, before})
        slow.let()
    assert bodies(calls) == {(200, b"hello")}


def test_a_client_that_gives_up_is_not_waited_for(house):
    slow = Slow(house, "lonely")
    with socket.create_connection(("127.0.0.1", house.port), timeout=5) as client:
        client.sendall(
            b"POST /function/lonely HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        )
        house.until(lambda: held(house) == 1)
    house.until(lambda: held(house) == 0)
    slow.let()


def test_a_large_body_waits_at_its_client(house):
    slow = Slow(house, "large")
    body = b"x" * 50_000_000
    with waiting(house, "large", 2, body) as calls:
        for name in ("gateway.control", "gateway.envoy"):
            status = Path(f"/proc/{house.pid(name)}/status").read_text()
            memory = int(status.partition("VmRSS:")[2].split()[0])
            assert memory < 200_000, name
        slow.let()
    assert bodies(calls) == {(200, body)}


def test_what_is_not_waited_for(house):
    folder = house.write(
        "idle", "class Handler:\n    def __call__(self, req):\n        return b''\n"
    )
    house.deploy(folder)
    house.client.scale("idle", 0)
    house.until_ready("idle", 0)
    status, headers, body = house.request("POST", "/function/idle")
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body)["detail"] == "idle is scaled to 0 replicas"
    status, _, body = house.request("POST", "/function/idel")
    assert (status, json.loads(body)["near"]) == (404, ["idle"])


def test_more_calls_than_may_wait(tmp_path):
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        house = GatewayProcess(tmp_path, Path(runtime))
        house.env["DCF_CONTROL_HELD"] = "3"
        house.start()
        try:
            slow = Slow(house, "slow")
            with waiting(house, "slow", 3) as calls:
                status, headers, body = house.request("POST", "/function/slow")
                assert (status, headers["retry-after"]) == (503, "1")
                assert json.loads(body)["error"] == "Overloaded"
                slow.let()
            assert bodies(calls) == {(200, b"hello")}
        finally:
            house.stop()
            house.client.close()
