"""Replicas start and stop with the load, and are replaced when they hang."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    before = ("env", *HASTY)
    with running(tmp_path_factory.mktemp("gateway"), before=before, shared=True) as gateway:
        yield gateway


def together(gateway: GatewayProcess, name: str, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """Make concurrent calls."""
    replies: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=lambda body=body: replies.append(gateway.call(name, body)))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


@dataclass(frozen=True)
class Step:
    """Load on a function with one replica: from zero to three concurrent calls for a while.

    Attributes:
        begin: Time of the start, in seconds since the epoch.
        end: Time of the last reply.
        replies: The replies.
    """

    begin: float
    end: float
    replies: list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def step(gateway: GatewayProcess) -> Iterator[Step]:
    gateway.deploy(gateway.write("busy", WORK), "--min", "1", "--max", "3")
    assert gateway.client.function("busy").replicas == 1
    begin = time.time()
    replies: list[tuple[int, bytes]] = []
    load = threading.Thread(target=lambda: replies.extend(together(gateway, "busy", [b"6"] * 3)))
    load.start()
    gateway.until(lambda: gateway.client.function("busy").ready == 3)
    load.join()
    yield Step(begin, time.time(), replies)
    gateway.client.delete("busy")


def scaled(gateway: GatewayProcess, name: str) -> list[Event]:
    """Return the changes of the number of replicas, oldest first."""
    events = reversed(gateway.client.events(name))
    return [event for event in events if event.kind is EventKind.SCALED]


def test_calls_in_progress_start_replicas(gateway, step):
    assert {status for status, _ in step.replies} == {200}
    # The calls that caused the scaling get the new replicas. Two steps occur if a poll met their
    # start.
    ups = [event for event in scaled(gateway, "busy") if step.begin < event.at < step.end]
    assert ups[-1].detail.startswith("3 (1 to 3), ")


def test_a_manual_number_of_replicas_applies_until_it_is_released(gateway):
    gateway.deploy(gateway.write("held", WORK), "--min", "1", "--max", "2")
    gateway.client.scale("held", 2)
    gateway.until_ready("held", 2)
    assert gateway.client.function("held").by_hand
    gateway.client.scale("held", 0)
    gateway.until(lambda: not gateway.replicas("held"))
    assert gateway.call("held")[0] == 503
    assert gateway.client.scale("held", None).minimum == 1
    gateway.until_ready("held", 1)
    gateway.client.delete("held")


def test_a_function_scales_to_zero_and_back(gateway):
    folder = gateway.write("rare", WORK, config="    scaling: {min: 0, max: 2, idle: 1}\n")
    gateway.deploy(folder)
    for _ in range(2):
        gateway.until(lambda: not gateway.replicas("rare"))
        assert gateway.client.function("rare").state == "idle"
        status, reply = gateway.call("rare")
        assert (status, reply.isdigit()) == (200, True)
    gateway.client.delete("rare")


def test_a_hanging_handler_is_replaced_while_the_others_answer(gateway):
    config = "    timeout: 1\n    scaling: {min: 2, max: 2}\n"
    gateway.deploy(gateway.write("hangs", WORK, config=config))
    before = set(gateway.replicas("hangs"))
    replies: list[tuple[int, bytes]] = []
    hung = threading.Thread(target=lambda: replies.append(gateway.call("hangs", b"hang")))
    hung.start()
    time.sleep(0.2)
    assert {gateway.call("hangs")[0] for _ in range(20)} == {200}
    hung.join()
    assert replies[0][0] == 504
    gateway.until(lambda: len(before - set(gateway.replicas("hangs"))) == 1)
    gateway.until_ready("hangs", 2)
    assert any("deadline" in event.detail for event in gateway.client.events("hangs"))
    gateway.client.delete("hangs")


def test_a_stopped_replica_gets_no_calls_until_it_continues(gateway):
    gateway.deploy(gateway.write("still", WORK), "--min", "2")
    names = gateway.replicas("still")
    pid = gateway.pid(names[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1.0)
        pids = {reply for _, reply in together(gateway, "still", [b""] * 20)}
        assert len(pids) == 1
        assert str(pid).encode() not in pids
    finally:
        os.kill(pid, signal.SIGCONT)

    def answers() -> bool:
        return str(pid).encode() in {reply for _, reply in together(gateway, "still", [b""] * 10)}

    gateway.until(answers)
    assert gateway.replicas("still") == names
    gateway.client.delete("still")


def test_a_replica_that_stays_stopped_is_replaced(gateway):
    gateway.deploy(gateway.write("mute", WORK), "--min", "2")
    names = gateway.replicas("mute")
    os.kill(gateway.pid(names[0]), signal.SIGSTOP)
    gateway.until(lambda: names[0] not in gateway.replicas("mute"))
    gateway.until_ready("mute", 2)
    assert names[1] in gateway.replicas("mute")
    crashed = [event for event in gateway.client.events("mute") if event.kind is EventKind.CRASHED]
    assert "did not answer for 3 s" in crashed[0].detail
    gateway.client.delete("mute")


def test_a_replica_that_holds_the_interpreter_is_replaced_while_the_others_answer(gateway):
    gateway.deploy(gateway.write("seized", WORK, config="    timeout: 2\n"), "--min", "2")
    before = set(gateway.replicas("seized"))
    replies: list[tuple[int, bytes]] = []
    begin = time.monotonic()
    lost = threading.Thread(target=lambda: replies.append(gateway.call("seized", b"seize")))
    lost.start()
    time.sleep(0.3)
    while lost.is_alive():
        assert gateway.call("seized")[0] == 200
        time.sleep(0.05)
    lost.join()
    # Two seconds for the call and five of grace, regardless of the limit for a stopped process.
    assert 6.5 < time.monotonic() - begin < 30
    # The signal that requests the stack may interrupt the blocking call; then its deadline is
    # reported first.
    assert (replies[0][0], json.loads(replies[0][1])["error"]) in {
        (502, "ReplicaLost"),
        (504, "DeadlineExceeded"),
    }
    gateway.until(lambda: len(before - set(gateway.replicas("seized"))) == 1)
    gateway.until_ready("seized", 2)
    logged = "\n".join(line.text for line in gateway.client.logs("seized"))
    assert re.search(r'handler\.py", line 10 in __call__', logged), logged
    gateway.client.delete("seized")


def test_a_replica_that_refuses_connections_is_skipped_and_used_again(gateway):
    gateway.deploy(gateway.write("deaf", WORK), "--min", "2")
    names = gateway.replicas("deaf")
    pid = str(gateway.pid(names[0])).encode()
    socket = gateway.places.gateway_runtime / f"{names[0][-8:]}.sock"
    away = socket.with_suffix(".away")
    assert pid in {reply for _, reply in together(gateway, "deaf", [b"0.1"] * 10)}
    socket.rename(away)
    try:
        # Even calls that would go to this replica succeed.
        replies = [reply for _ in range(5) for reply in together(gateway, "deaf", [b""] * 20)]
        assert {status for status, _ in replies} == {200}
        gateway.until(
            lambda: pid not in {reply for _, reply in together(gateway, "deaf", [b""] * 10)}
        )
    finally:
        away.rename(socket)
    gateway.until(lambda: pid in {reply for _, reply in together(gateway, "deaf", [b"0.01"] * 10)})
    assert gateway.replicas("deaf") == names
    gateway.client.delete("deaf")


def test_replicas_stop_when_the_load_ends(gateway, step):
    """Half a minute passes after the load: most of it in the previous tests."""
    gateway.until(lambda: gateway.client.function("busy").ready == 1)
    gateway.until(lambda: len(gateway.replicas("busy")) == 1)
    [*_, down] = scaled(gateway, "busy")
    assert down.detail.startswith("1 (1 to 3), ")
    assert gateway.call("busy")[0] == 200
