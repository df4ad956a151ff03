"""Killed processes come back, without orphans, duplicates, lost deploys or avoidable lost calls."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

import grpc
import pytest

from dcf.errors import DcfError
from e2e.gateway_process import CLI, GatewayProcess, running
from process.stub import connected
from process.supervised import alive

pytestmark = pytest.mark.slow

ECHO = """
import os

class Handler:
    def __call__(self, req):
        if req.input == b"pid":
            return str(os.getpid())
        return req.input
"""

SLOW = """
import time

class Handler:
    def __call__(self, req):
        time.sleep(float(req.input))
        return b"slept"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO), "--min", "2")
        yield gateway


class Load:
    """Calls continuously from several threads, and counts errors."""

    def __init__(self, gateway: GatewayProcess, threads: int = 3) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.good = 0
        self.bad: list[str] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status, reply = self._gateway.call("echo", b"hello")
            except OSError as error:
                self.bad.append(repr(error))
                continue
            if (status, reply) == (200, b"hello"):
                self.good += 1
            else:
                self.bad.append(f"{status} {reply[:200]!r}")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, number: int) -> None:
        """Wait for this many further successful calls."""
        target = self.good + number
        self._gateway.until(lambda: self.good >= target)


def in_charge(gateway: GatewayProcess) -> bool:
    with contextlib.suppress(DcfError, OSError):
        return bool(gateway.client.functions())
    return False


def whole(gateway: GatewayProcess, replicas: int = 2) -> bool:
    """Return whether every expected process lives exactly once."""
    with contextlib.suppress(DcfError, OSError):
        function = gateway.client.function("echo")
        living = [replica.id for replica in function.replica_list if replica.state != "exited"]
        return function.ready == len(living) == len(gateway.replicas("echo")) == replicas
    return False


def test_a_killed_control_plane_fails_no_call_and_comes_back(gateway: GatewayProcess) -> None:
    replicas = set(gateway.replicas("echo"))
    with Load(gateway) as load:
        load.more(50)
        for _ in range(3):
            before = gateway.pid("gateway.control")
            os.kill(before, signal.SIGKILL)
            load.more(20)
            gateway.until(partial(_is_another, gateway, before))
            gateway.until(lambda: in_charge(gateway))
        load.more(50)
    assert load.bad == []
    assert set(gateway.replicas("echo")) == replicas, "the replicas keep running"
    # It is in charge once it acts.
    gateway.client.scale("echo", 3)
    gateway.until(lambda: whole(gateway, 3))
    gateway.client.scale("echo", 2)
    gateway.until(lambda: whole(gateway, 2))


def _is_another(gateway: GatewayProcess, before: int) -> bool:
    return gateway.pid("gateway.control") not in {0, before}


def test_a_killed_bridge_fails_only_its_streams_and_comes_back(gateway: GatewayProcess) -> None:
    with connected(gateway.port) as stub, Load(gateway) as load:
        before = gateway.pid("gateway.bridge")
        with stub.talk() as talk:
            talk.send("echo", b"a")
            assert talk.receive() == b"a"
            os.kill(before, signal.SIGKILL)
            # Once a reply has begun, Envoy can only reset the stream.
            assert talk.failure()[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
        assert stub("Invoke", Service="echo", Input=b"x").Msg == "x"
        with stub.talk() as talk:
            talk.send("echo", b"b")
            assert talk.receive() == b"b", "it waited for the next bridge"
        load.more(50)
    assert load.bad == []
    assert gateway.pid("gateway.bridge") not in {0, before}


def test_a_killed_envoy_comes_back(gateway: GatewayProcess) -> None:
    before = gateway.pid("gateway.envoy")
    os.kill(before, signal.SIGKILL)
    gateway.until(lambda: _calls(gateway))
    assert gateway.pid("gateway.envoy") != before
    assert whole(gateway)


def _calls(gateway: GatewayProcess) -> bool:
    try:
        return gateway.call("echo", b"x") == (200, b"x")
    except OSError:
        return False


def test_a_killed_replica_is_replaced_and_the_others_answer(gateway: GatewayProcess) -> None:
    with Load(gateway) as load:
        load.more(20)
        (victim, *_) = gateway.replicas("echo")
        os.kill(gateway.pid(victim), signal.SIGKILL)
        load.more(50)
        gateway.until(lambda: whole(gateway) and victim not in gateway.replicas("echo"))
        load.more(20)
    # A call that the killed replica was processing is lost, and its error says so.
    assert len(load.bad) <= 3, load.bad
    assert all("ReplicaLost" in bad for bad in load.bad), load.bad
    events = gateway.client.events("echo")
    assert any("SIGKILL" in event.detail for event in events)


def test_a_killed_supervisor_is_replaced_and_leaves_nothing(gateway: GatewayProcess) -> None:
    pids = gateway.pids()
    os.kill(gateway.supervisor, signal.SIGKILL)
    gateway.until(lambda: not any(alive(pid) for pid in pids))
    gateway.until(lambda: _calls(gateway))
    gateway.until(lambda: whole(gateway))
    assert set(gateway.pids()).isdisjoint(pids)


BROKEN = """
class Handler:
    def __init__(self):
        raise ValueError("no such model")

    def __call__(self, req):
        return b""
"""


def test_a_call_of_a_function_that_cannot_start_gets_the_reason(gateway: GatewayProcess) -> None:
    folder = gateway.write("broken", BROKEN)
    assert gateway.dcf("function", "deploy", f"{folder}/").returncode == 8
    status, headers, body = gateway.request("POST", "/function/broken", b"x" * 300_000)
    problem = json.loads(body)
    assert (status, problem["error"]) == (503, "HandlerInitFailed")
    assert "ValueError: no such model" in problem["traceback"]
    assert "retry-after" in headers
    gateway.client.delete("broken")


def test_a_gateway_starts_again_after_all_processes_were_killed(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.deploy(gateway.write("echo", ECHO), "--min", "2")
        gateway.deploy(gateway.write("slow", SLOW))
        pids = gateway.pids()
        gateway.kill_everything()
        gateway.until(lambda: not any(map(alive, pids)))
        gateway.start()
        gateway.until(lambda: whole(gateway))
        assert gateway.call("echo", b"again") == (200, b"again")
        gateway.until(lambda: gateway.client.function("slow").ready == 1)
        assert [function.revision for function in gateway.client.functions()] == [1, 1]


def test_an_acknowledged_deploy_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        folder = gateway.write("echo", ECHO)
        gateway.deploy(folder)
        acknowledged = 1
        for round_ in range(4):
            (folder / "src" / "handler.py").write_text(f"{ECHO}\n# {round_}\n")
            deploy = subprocess.Popen(
                [*CLI, "function", "deploy", f"{folder}/", "--no-wait"],
                env=gateway.env,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            time.sleep(0.15 * (round_ + 1))  # at any step
            gateway.kill_everything()
            if deploy.wait(60) == 0:
                acknowledged += 1
            gateway.start()
            current = gateway.client.function("echo").revision
            # An unacknowledged deploy may have succeeded; an acknowledged deploy must have.
            assert current >= acknowledged
            acknowledged = current
        gateway.until(lambda: whole(gateway, 1))


def test_killing_the_foreground_process_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        pids = gateway.pids()
        assert gateway.process is not None
        gateway.process.kill()
        gateway.process.wait()
        gateway.until(lambda: not any(map(alive, pids)))


def test_a_call_in_progress_completes_when_the_gateway_stops(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.deploy(gateway.write("slow", SLOW))
        replies = []
        caller = threading.Thread(target=lambda: replies.append(gateway.call("slow", b"1")))
        caller.start()
        gateway.until(lambda: b'in_flight{function="slow"} 1' in gateway.get("/metrics")[2])
        assert gateway.stop(signal.SIGINT) in {0, 130}
        caller.join()
        assert replies == [(200, b"slept")]


def test_a_call_in_progress_completes_when_its_function_is_deleted(gateway: GatewayProcess) -> None:
    gateway.deploy(gateway.write("slow", SLOW))
    replies = []
    caller = threading.Thread(target=lambda: replies.append(gateway.call("slow", b"1")))
    caller.start()
    gateway.until(lambda: b'in_flight{function="slow"} 1' in gateway.get("/metrics")[2])
    gateway.client.delete("slow")
    assert gateway.call("slow", b"0")[0] == 404
    caller.join()
    assert replies == [(200, b"slept")]
    gateway.until(lambda: not gateway.replicas("slow"))
    with pytest.raises(DcfError, match="slow"):
        gateway.client.function("slow")
