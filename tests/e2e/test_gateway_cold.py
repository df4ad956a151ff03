"""Calls without a ready replica wait until a replica is ready, or get the reason why none is."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        yield gateway


class Slow:
    """A function whose constructor returns when the test allows it."""

    def __init__(self, gateway: GatewayProcess, name: str, source: str = SLOW) -> None:
        self._gateway = gateway
        self.name = name
        self._go = gateway.folder / f"{name}.go"
        folder = gateway.write(name, source.format(path=str(self._go)))
        gateway.deploy(folder, "--no-wait")

    def let(self) -> None:
        self._go.touch()

    def stop(self) -> None:
        self._go.unlink()


def held(gateway: GatewayProcess) -> int:
    """Return the number of calls about which Envoy is asking the control plane."""
    name = "cluster.Hold.upstream_rq_active"
    sockets = Sockets.under(gateway.places.gateway_runtime)
    text = get(sockets.admin, f"/stats?filter={name}", 5)[1].decode()
    return int(text.partition(": ")[2])


def _over(calls: list[Future[Reply]]) -> bool:
    """Return False; a call that was not held fails at once."""
    for call in calls:
        assert not call.done(), call.result()
    return False


@contextlib.contextmanager
def waiting(
    gateway: GatewayProcess, name: str, number: int, body: bytes = b"hello", **headers: str
) -> Iterator[list[Future[Reply]]]:
    """Hold calls during the block."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    with ThreadPoolExecutor(number) as pool:
        calls = [
            pool.submit(gateway.request, "POST", f"/function/{name}", body, sent)
            for _ in range(number)
        ]
        gateway.until(lambda: held(gateway) == number or _over(calls))
        yield calls
    assert held(gateway) == 0


def bodies(calls: list[Future[Reply]]) -> set[tuple[int, bytes]]:
    return {(call.result()[0], call.result()[2]) for call in calls}


def test_a_burst_waits_for_a_function_that_is_starting(gateway):
    slow = Slow(gateway, "slow")
    with waiting(gateway, "slow", 200) as calls:
        slow.let()
    assert bodies(calls) == {(200, b"hello")}
    timing = calls[0].result()[1]["server-timing"]
    assert "hold;dur=" in timing
    assert "handler;dur=" in timing
    # The next call does not wait.
    assert "hold" not in gateway.request("POST", "/function/slow", b"x")[1]["server-timing"]


def test_calls_wait_for_the_successor_of_a_killed_replica(gateway):
    slow = Slow(gateway, "killed")
    slow.let()
    gateway.until_ready("killed")
    first = int(gateway.call("killed", b"pid")[1])
    slow.stop()
    os.kill(first, signal.SIGKILL)
    # Calls that are on their way to the replica are lost with it: nobody knows whether they began.
    gateway.until(lambda: not alive(first))
    time.sleep(0.02)
    with waiting(gateway, "killed", 10, b"pid") as calls:
        slow.let()
    [(status, second)] = bodies(calls)
    assert (status, second != str(first).encode()) == (200, True)


def test_the_deadline_of_a_held_call_keeps_running(gateway):
    slow = Slow(gateway, "dead")
    status, _, body = gateway.request(
        "POST", "/function/dead", b"x", {"x-dcf-deadline-ms": "300", "x-request-id": "mine"}
    )
    problem = json.loads(body)
    assert (status, problem["error"]) == (504, "DeadlineExceeded")
    assert problem["request_id"] == "mine"
    with waiting(gateway, "dead", 1, b"headers", x_dcf_deadline_ms="50000") as [call]:
        slow.let()
    seen = json.loads(call.result()[2])
    waited = int(seen["x-dcf-held-ms"])
    assert waited > 0
    assert abs(int(seen["x-dcf-deadline-ms"]) + waited - 50_000) <= 1


def test_every_waiting_caller_gets_the_error_of_a_failed_start(gateway):
    broken = Slow(gateway, "broken", BROKEN)
    with waiting(gateway, "broken", 20) as calls:
        broken.let()
    for call in calls:
        status, headers, body = call.result()
        problem = json.loads(body)
        assert (status, problem["error"]) == (503, "HandlerInitFailed")
        assert "no model" in problem["traceback"]
        assert int(headers["retry-after"]) >= 1
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == problem["request_id"]


def test_killing_the_control_plane_loses_no_held_call(gateway):
    slow = Slow(gateway, "patient")
    with waiting(gateway, "patient", 20) as calls:
        before = gateway.pid("gateway.control")
        gateway.kill("gateway.control")
        gateway.until(lambda: gateway.pid("gateway.control") not in {0, before})
        slow.let()
    assert bodies(calls) == {(200, b"hello")}


def test_a_client_that_disconnects_is_no_longer_held(gateway):
    slow = Slow(gateway, "lonely")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as client:
        client.sendall(
            b"POST /function/lonely HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        )
        gateway.until(lambda: held(gateway) == 1)
    gateway.until(lambda: held(gateway) == 0)
    slow.let()


def test_a_large_body_waits_at_its_client(gateway):
    slow = Slow(gateway, "large")
    body = b"x" * 50_000_000
    with waiting(gateway, "large", 2, body) as calls:
        for name in ("gateway.control", "gateway.envoy"):
            status = Path(f"/proc/{gateway.pid(name)}/status").read_text()
            memory = int(status.partition("VmRSS:")[2].split()[0])
            assert memory < 200_000, name
        slow.let()
    assert bodies(calls) == {(200, body)}


def test_calls_of_stopped_and_unknown_functions_do_not_wait(gateway):
    folder = gateway.write(
        "idle", "class Handler:\n    def __call__(self, req):\n        return b''\n"
    )
    gateway.deploy(folder)
    gateway.client.scale("idle", 0)
    gateway.until_ready("idle", 0)
    status, headers, body = gateway.request("POST", "/function/idle")
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body)["detail"] == "idle is scaled to 0 replicas"
    status, _, body = gateway.request("POST", "/function/idel")
    assert (status, json.loads(body)["near"]) == (404, ["idle"])


def test_calls_over_the_limit_of_held_calls_are_rejected(tmp_path):
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        gateway = GatewayProcess(tmp_path, Path(runtime))
        gateway.env["DCF_CONTROL_HELD"] = "3"
        gateway.start()
        try:
            slow = Slow(gateway, "slow")
            with waiting(gateway, "slow", 3) as calls:
                status, headers, body = gateway.request("POST", "/function/slow")
                assert (status, headers["retry-after"]) == (503, "1")
                assert json.loads(body)["error"] == "Overloaded"
                slow.let()
            assert bodies(calls) == {(200, b"hello")}
        finally:
            gateway.stop()
            gateway.client.close()
