"""Whatever is killed comes back: no orphan, no double, no lost deploy, no lost call without need."""

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
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("echo", ECHO), "--min", "2")
        yield house


class Load:
    """Calls without a pause from several threads, and counts what went wrong."""

    def __init__(self, house: GatewayProcess, threads: int = 3) -> None:
        self._house = house
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.good = 0
        self.bad: list[str] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status, reply = self._house.call("echo", b"hello")
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
        """Waits for this many further good calls."""
        goal = self.good + number
        self._house.until(lambda: self.good >= goal)


def in_charge(house: GatewayProcess) -> bool:
    with contextlib.suppress(DcfError, OSError):
        return bool(house.client.functions())
    return False


def whole(house: GatewayProcess, replicas: int = 2) -> bool:
    """All that is to live lives, once."""
    with contextlib.suppress(DcfError, OSError):
        function = house.client.function("echo")
        living = [one.id for one in function.replica_list if one.state != "exited"]
        return function.ready == len(living) == len(house.replicas("echo")) == replicas
    return False


def test_a_killed_control_plane_costs_no_call_and_is_back(house: GatewayProcess) -> None:
    replicas = set(house.replicas("echo"))
    with Load(house) as load:
        load.more(50)
        for _ in range(3):
            before = house.pid("gateway.control")
            os.kill(before, signal.SIGKILL)
            load.more(20)
            house.until(partial(_is_another, house, before))
            house.until(lambda: in_charge(house))
        load.more(50)
    assert load.bad == []
    assert set(house.replicas("echo")) == replicas, "it found its replicas where they were"
    # In charge means that it acts.
    house.client.scale("echo", 3)
    house.until(lambda: whole(house, 3))
    house.client.scale("echo", 2)
    house.until(lambda: whole(house, 2))


def _is_another(house: GatewayProcess, before: int) -> bool:
    return house.pid("gateway.control") not in {0, before}


def test_a_killed_bridge_costs_its_streams_alone_and_is_back(house: GatewayProcess) -> None:
    with connected(house.port) as stub, Load(house) as load:
        before = house.pid("gateway.bridge")
        with stub.talk() as talk:
            talk.send("echo", b"a")
            assert talk.receive() == b"a"
            os.kill(before, signal.SIGKILL)
            # Once a reply has begun, all that Envoy can do is reset the stream.
            assert talk.failure()[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
        assert stub("Invoke", Service="echo", Input=b"x").Msg == "x"
        with stub.talk() as talk:
            talk.send("echo", b"b")
            assert talk.receive() == b"b", "it waited for the next bridge"
        load.more(50)
    assert load.bad == []
    assert house.pid("gateway.bridge") not in {0, before}


def test_a_killed_envoy_is_back(house: GatewayProcess) -> None:
    before = house.pid("gateway.envoy")
    os.kill(before, signal.SIGKILL)
    house.until(lambda: _calls(house))
    assert house.pid("gateway.envoy") != before
    assert whole(house)


def _calls(house: GatewayProcess) -> bool:
    try:
        return house.call("echo", b"x") == (200, b"x")
    except OSError:
        return False


def test_a_killed_replica_is_replaced_and_the_others_answer(house: GatewayProcess) -> None:
    with Load(house) as load:
        load.more(20)
        (victim, *_) = house.replicas("echo")
        os.kill(house.pid(victim), signal.SIGKILL)
        load.more(50)
        house.until(lambda: whole(house) and victim not in house.replicas("echo"))
        load.more(20)
    # A call that the killed one was just answering is lost, and says so.
    assert len(load.bad) <= 3, load.bad
    assert all("ReplicaLost" in bad for bad in load.bad), load.bad
    events = house.client.events("echo")
    assert any("SIGKILL" in event.detail for event in events)


def test_a_killed_supervisor_is_replaced_and_leaves_nothing(house: GatewayProcess) -> None:
    pids = house.pids()
    os.kill(house.supervisor, signal.SIGKILL)
    house.until(lambda: not any(alive(pid) for pid in pids))
    house.until(lambda: _calls(house))
    house.until(lambda: whole(house))
    assert set(house.pids()).isdisjoint(pids)


BROKEN = """
class Handler:
    def __init__(self):
        raise ValueError("no such model")

    def __call__(self, req):
        return b""
"""


def test_a_call_of_what_cannot_start_is_told_why(house: GatewayProcess) -> None:
    folder = house.write("broken", BROKEN)
    assert house.dcf("function", "deploy", f"{folder}/").returncode == 8
    status, headers, body = house.request("POST", "/function/broken", b"x" * 300_000)
    problem = json.loads(body)
    assert (status, problem["error"]) == (503, "HandlerInitFailed")
    assert "ValueError: no such model" in problem["traceback"]
    assert "retry-after" in headers
    house.client.delete("broken")


def test_everything_killed_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path) as house:
        house.deploy(house.write("echo", ECHO), "--min", "2")
        house.deploy(house.write("slow", SLOW))
        pids = house.pids()
        house.kill_everything()
        house.until(lambda: not any(map(alive, pids)))
        house.start()
        house.until(lambda: whole(house))
        assert house.call("echo", b"again") == (200, b"again")
        house.until(lambda: house.client.function("slow").ready == 1)
        assert [one.revision for one in house.client.functions()] == [1, 1]


def test_a_deploy_that_was_acknowledged_outlives_a_kill_at_any_instant(tmp_path: Path) -> None:
    with running(tmp_path) as house:
        folder = house.write("echo", ECHO)
        house.deploy(folder)
        acknowledged = 1
        for round_ in range(4):
            (folder / "src" / "handler.py").write_text(f"{ECHO}\n# {round_}\n")
            deploy = subprocess.Popen(
                [*CLI, "function", "deploy", f"{folder}/", "--no-wait"],
                env=house.env,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            time.sleep(0.15 * (round_ + 1))  # anywhere on its way
            house.kill_everything()
            if deploy.wait(60) == 0:
                acknowledged += 1
            house.start()
            current = house.client.function("echo").revision
            # What was on its way may have come in; what was acknowledged must have.
            assert current >= acknowledged
            acknowledged = current
        house.until(lambda: whole(house, 1))


def test_the_foreground_process_killed_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path) as house:
        house.deploy(house.write("echo", ECHO))
        pids = house.pids()
        assert house.process is not None
        house.process.kill()
        house.process.wait()
        house.until(lambda: not any(map(alive, pids)))


def test_a_call_in_flight_ends_well_when_the_gateway_stops(tmp_path: Path) -> None:
    with running(tmp_path) as house:
        house.deploy(house.write("slow", SLOW))
        replies = []
        caller = threading.Thread(target=lambda: replies.append(house.call("slow", b"1")))
        caller.start()
        house.until(lambda: b'in_flight{function="slow"} 1' in house.get("/metrics")[2])
        assert house.stop(signal.SIGINT) in {0, 130}
        caller.join()
        assert replies == [(200, b"slept")]


def test_deleted_while_called_the_call_ends_well(house: GatewayProcess) -> None:
    house.deploy(house.write("slow", SLOW))
    replies = []
    caller = threading.Thread(target=lambda: replies.append(house.call("slow", b"1")))
    caller.start()
    house.until(lambda: b'in_flight{function="slow"} 1' in house.get("/metrics")[2])
    house.client.delete("slow")
    assert house.call("slow", b"0")[0] == 404
    caller.join()
    assert replies == [(200, b"slept")]
    house.until(lambda: not house.replicas("slow"))
    with pytest.raises(DcfError, match="slow"):
        house.client.function("slow")
