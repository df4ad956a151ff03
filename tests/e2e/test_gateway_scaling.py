"""Replicas come with the calls, go with them, and are replaced when they hang."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dcf.model.event import Event, EventKind
from e2e.gateway_process import GatewayProcess, running

WORK = """
import ctypes, os, time

class Handler:
    def __call__(self, req):
        if req.input == b"hang":
            while True:
                time.sleep(1)
        if req.input == b"seize":
            ctypes.PyDLL(None).sleep(600)  # C that keeps the interpreter's lock
        time.sleep(float(req.input or 0))
        return str(os.getpid())
"""

HASTY = ("DCF_CONTROL_HEALTH_INTERVAL=0.2", "DCF_CONTROL_HEALTH_SILENCE=3")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    before = ("env", *HASTY)
    with running(tmp_path_factory.mktemp("house"), before=before, shared=True) as house:
        yield house


def together(house: GatewayProcess, name: str, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """Calls side by side."""
    found: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=lambda body=body: found.append(house.call(name, body)))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@dataclass(frozen=True)
class Step:
    """Load on a function with one replica, from nothing to three calls at a time for a while.

    Attributes:
        begin: When it began, in seconds since the epoch.
        end: When the last call was answered.
        replies: What became of the calls.
    """

    begin: float
    end: float
    replies: list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def step(house: GatewayProcess) -> Iterator[Step]:
    house.deploy(house.write("busy", WORK), "--min", "1", "--max", "3")
    assert house.client.function("busy").replicas == 1
    begin = time.time()
    found: list[tuple[int, bytes]] = []
    load = threading.Thread(target=lambda: found.extend(together(house, "busy", [b"6"] * 3)))
    load.start()
    house.until(lambda: house.client.function("busy").ready == 3)
    load.join()
    yield Step(begin, time.time(), found)
    house.client.delete("busy")


def scaled(house: GatewayProcess, name: str) -> list[Event]:
    """The changes of its number of replicas, oldest first."""
    events = reversed(house.client.events(name))
    return [one for one in events if one.kind is EventKind.SCALED]


def test_calls_under_way_bring_replicas(house, step):
    assert {status for status, _ in step.replies} == {200}
    # For the very calls that asked for it; in two steps where a look met their beginning.
    ups = [one for one in scaled(house, "busy") if step.begin < one.at < step.end]
    assert ups[-1].detail.startswith("3 (1 to 3), ")


def test_a_number_by_hand_holds_until_it_is_released(house):
    house.deploy(house.write("held", WORK), "--min", "1", "--max", "2")
    house.client.scale("held", 2)
    house.until_ready("held", 2)
    assert house.client.function("held").by_hand
    house.client.scale("held", 0)
    house.until(lambda: not house.replicas("held"))
    assert house.call("held")[0] == 503
    assert house.client.scale("held", None).minimum == 1
    house.until_ready("held", 1)
    house.client.delete("held")


def test_down_to_none_and_back(house):
    folder = house.write("rare", WORK, config="    scaling: {min: 0, max: 2, idle: 1}\n")
    house.deploy(folder)
    for _ in range(2):
        house.until(lambda: not house.replicas("rare"))
        assert house.client.function("rare").state == "idle"
        status, reply = house.call("rare")
        assert (status, reply.isdigit()) == (200, True)
    house.client.delete("rare")


def test_a_handler_that_hangs_is_replaced_while_the_others_answer(house):
    config = "    timeout: 1\n    scaling: {min: 2, max: 2}\n"
    house.deploy(house.write("hangs", WORK, config=config))
    before = set(house.replicas("hangs"))
    found: list[tuple[int, bytes]] = []
    hung = threading.Thread(target=lambda: found.append(house.call("hangs", b"hang")))
    hung.start()
    time.sleep(0.2)
    assert {house.call("hangs")[0] for _ in range(20)} == {200}
    hung.join()
    assert found[0][0] == 504
    house.until(lambda: len(before - set(house.replicas("hangs"))) == 1)
    house.until_ready("hangs", 2)
    assert any("deadline" in one.detail for one in house.client.events("hangs"))
    house.client.delete("hangs")


def test_a_replica_that_is_stopped_gets_no_calls_and_is_taken_back(house):
    house.deploy(house.write("still", WORK), "--min", "2")
    names = house.replicas("still")
    pid = house.pid(names[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1.0)
        pids = {reply for _, reply in together(house, "still", [b""] * 20)}
        assert len(pids) == 1
        assert str(pid).encode() not in pids
    finally:
        os.kill(pid, signal.SIGCONT)

    def answers() -> bool:
        return str(pid).encode() in {reply for _, reply in together(house, "still", [b""] * 10)}

    house.until(answers)
    assert house.replicas("still") == names
    house.client.delete("still")


def test_a_replica_that_stays_stopped_is_replaced(house):
    house.deploy(house.write("mute", WORK), "--min", "2")
    names = house.replicas("mute")
    os.kill(house.pid(names[0]), signal.SIGSTOP)
    house.until(lambda: names[0] not in house.replicas("mute"))
    house.until_ready("mute", 2)
    assert names[1] in house.replicas("mute")
    crashed = [one for one in house.client.events("mute") if one.kind is EventKind.CRASHED]
    assert "did not answer for 3 s" in crashed[0].detail
    house.client.delete("mute")


def test_a_replica_that_holds_the_interpreter_is_replaced_while_the_others_answer(house):
    house.deploy(house.write("seized", WORK, config="    timeout: 2\n"), "--min", "2")
    before = set(house.replicas("seized"))
    found: list[tuple[int, bytes]] = []
    begin = time.monotonic()
    lost = threading.Thread(target=lambda: found.append(house.call("seized", b"seize")))
    lost.start()
    time.sleep(0.3)
    while lost.is_alive():
        assert house.call("seized")[0] == 200
        time.sleep(0.05)
    lost.join()
    # Two seconds for the call and five of grace, whatever the limit for a stopped process is.
    assert 6.5 < time.monotonic() - begin < 30
    # The signal that asks where it is may end what it waits for; then its deadline is told first.
    assert (found[0][0], json.loads(found[0][1])["error"]) in {
        (502, "ReplicaLost"),
        (504, "DeadlineExceeded"),
    }
    house.until(lambda: len(before - set(house.replicas("seized"))) == 1)
    house.until_ready("seized", 2)
    logged = "\n".join(line.text for line in house.client.logs("seized"))
    assert re.search(r'handler\.py", line 10 in __call__', logged), logged
    house.client.delete("seized")


def test_a_replica_that_refuses_connections_is_passed_over_and_taken_back(house):
    house.deploy(house.write("deaf", WORK), "--min", "2")
    names = house.replicas("deaf")
    pid = str(house.pid(names[0])).encode()
    socket = house.places.gateway_runtime / f"{names[0][-8:]}.sock"
    away = socket.with_suffix(".away")
    assert pid in {reply for _, reply in together(house, "deaf", [b"0.1"] * 10)}
    socket.rename(away)
    try:
        # Not even the calls that would be sent there fail.
        replies = [reply for _ in range(5) for reply in together(house, "deaf", [b""] * 20)]
        assert {status for status, _ in replies} == {200}
        house.until(lambda: pid not in {reply for _, reply in together(house, "deaf", [b""] * 10)})
    finally:
        away.rename(socket)
    house.until(lambda: pid in {reply for _, reply in together(house, "deaf", [b"0.01"] * 10)})
    assert house.replicas("deaf") == names
    house.client.delete("deaf")


def test_replicas_go_when_the_load_is_over(house, step):
    """Half a minute after it: most of that has passed in the tests before."""
    house.until(lambda: house.client.function("busy").ready == 1)
    house.until(lambda: len(house.replicas("busy")) == 1)
    [*_, down] = scaled(house, "busy")
    assert down.detail.startswith("1 (1 to 3), ")
    assert house.call("busy")[0] == 200
