"""What the commands about deployed functions show and do."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.gateway_process import CLI, PATIENCE, GatewayProcess, running

TALKER = """
class Handler:
    def __init__(self):
        print("version {version} begins")

    def __call__(self, req):
        print("heard", req.text)
        return "version {version}"
"""

LOOKS = """
    desc: Repeats what it hears
    maintainer: Ada
    image: registry.example:5000/talker
    labels: {team: voices}
    constraints: ["node.labels.zone==here"]
"""

FAULTY = """
class Handler:
    def __init__(self):
        raise RuntimeError("the model is missing")

    def __call__(self, req):
        return req.input
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("talker", TALKER.format(version=1), config=LOOKS))
        house.dcf("function", "deploy", f"{house.write('faulty', FAULTY)}/")
        yield house


def told(house: GatewayProcess, *arguments: str) -> str:
    """What a command that goes well prints."""
    done = house.dcf("function", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def info(house: GatewayProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told(house, "info", name, "--json"))
    return found


def test_the_list_has_the_columns_of_the_original(house: GatewayProcess) -> None:
    calls = info(house, "talker")["invocations"]
    titles, faulty, talker = told(house, "list").splitlines()

    expected = "Function Image Maintainer Invocations Replicas Status Description"
    assert titles.split() == expected.split()
    assert faulty.split()[0] == "faulty"
    assert "Not Ready" in faulty
    image = "registry.example:5000/talker"
    row = ["talker", image, "Ada", str(calls), "1", "Ready", "Repeats what it hears"]
    assert re.split(r"  +", talker) == row
    assert told(house, "ls", "-q") == "faulty\ntalker\n"
    assert [one["name"] for one in json.loads(told(house, "list", "--json"))] == [
        "faulty",
        "talker",
    ]


def test_info_tells_all_of_a_function(house: GatewayProcess) -> None:
    text = told(house, "info", "talker")

    for part in ("Ready", "Ada", "team=voices", "Repeats what it hears", "1 of 1 ready", house.url):
        assert part in text
    found = info(house, "talker")
    assert (found["state"], found["revision"], found["failure"]) == ("ready", 1, None)
    assert [one["state"] for one in found["replica_list"]] == ["ready"]
    assert [one["kind"] for one in found["events"]] == ["deployed"]
    assert found["url"] == f"{house.url}/function/talker"


def test_a_function_that_cannot_start_tells_why_everywhere(house: GatewayProcess) -> None:
    house.until(lambda: house.client.function("faulty").state == "crash-loop")

    assert "Not Ready (crash-loop)" in told(house, "list")
    text = told(house, "info", "faulty")
    assert "Last failure" in text
    assert 'raise RuntimeError("the model is missing")' in text
    lines = told(house, "log", "faulty").splitlines()
    assert sum("RuntimeError: the model is missing" in line for line in lines) >= 3
    assert len({line.split()[1] for line in lines}) >= 3, "lines of replicas that have ended"
    done = house.dcf("function", "call", "faulty")
    assert done.returncode == 8
    assert b"RuntimeError: the model is missing" in done.stderr


def test_a_function_is_scaled_up_and_down(house: GatewayProcess) -> None:
    assert (
        "Replicas of talker: 1 to 3"
        in house.dcf("function", "scale", "talker", "3").stderr.decode()
    )
    house.until_ready("talker", 3)
    assert len(house.replicas("talker")) == 3
    told(house, "scale", "talker", "0")
    house.until(lambda: not house.replicas("talker"))
    assert info(house, "talker")["state"] == "idle"
    told(house, "scale", "talker", "1")
    house.until_ready("talker")
    assert house.dcf("function", "scale", "talker", "-1").returncode == 2
    assert house.dcf("function", "scale", "talker", "1000000").returncode == 3


def test_a_log_is_cut_at_a_number_of_lines_and_at_a_time(house: GatewayProcess) -> None:
    words = [f"word-{number}" for number in range(4)]
    for word in words[:2]:
        house.call("talker", word.encode())
    house.until(lambda: "heard word-1" in told(house, "log", "talker", "--tail", "1"))
    between = datetime.now(UTC).isoformat()
    for word in words[2:]:
        house.call("talker", word.encode())
    house.until(lambda: "heard word-3" in told(house, "log", "talker", "--tail", "1"))

    assert said(told(house, "log", "talker", "--tail", "3")) == [
        f"heard {one}" for one in words[1:]
    ]
    assert said(told(house, "log", "talker", "--since", between)) == [
        "heard word-2",
        "heard word-3",
    ]
    assert said(told(house, "log", "talker", "--tail", "0")) == []
    assert "version 1 begins" in said(told(house, "log", "talker", "--since", "1h"))
    replica = told(house, "log", "talker", "--tail", "1").split()[1]
    mine = told(house, "log", "talker", "--replica", replica)
    assert {line.split()[1] for line in mine.splitlines()} == {replica}
    assert house.dcf("function", "log", "talker", "--replica", "nobody").returncode == 11
    assert house.dcf("function", "log", "talker", "--since", "yesterday").returncode == 2


def test_a_log_is_followed_into_the_replicas_that_come_later(house: GatewayProcess) -> None:
    with following(house, "talker", "--tail", "1") as log:
        house.call("talker", b"before")
        read_until(log, "heard before")
        house.deploy(house.write("talker", TALKER.format(version=2), config=LOOKS))
        read_until(log, "version 2 begins")
        house.call("talker", b"after")
        read_until(log, "heard after")
        log.send_signal(signal.SIGINT)
        assert log.wait(20) == 130


def test_a_log_that_is_followed_survives_the_control_plane(house: GatewayProcess) -> None:
    with following(house, "talker", "--tail", "1") as log:
        house.call("talker", b"calm")
        read_until(log, "heard calm")
        before = house.pid("gateway.control")
        house.kill("gateway.control")
        house.call("talker", b"storm")
        house.until(lambda: house.pid("gateway.control") not in {0, before})
        assert read_until(log, "heard storm") == [], "nothing comes twice"


def test_a_function_is_deleted_with_all_that_it_had(house: GatewayProcess) -> None:
    house.deploy(house.write("brief", TALKER.format(version=1)))
    told(house, "delete", "brief")

    assert house.call("brief")[0] == 404
    house.until(lambda: not house.replicas("brief"))
    house.until(lambda: not list(house.places.replicas.glob("brief*")))
    assert "brief" not in told(house, "list", "-q")
    again = house.dcf("function", "delete", "brief")
    assert again.returncode == 3
    assert b"brief" in again.stderr


@contextmanager
def following(house: GatewayProcess, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*CLI, "function", "log", "--follow", *arguments]
    log = subprocess.Popen(command, env=house.env, stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(PATIENCE, log.kill)
    guard.start()
    try:
        yield log
    finally:
        guard.cancel()
        guard.join()
        log.kill()
        log.wait()
        assert log.stdout is not None
        log.stdout.close()


def read_until(log: subprocess.Popen[str], text: str) -> list[str]:
    """What was said before the line that ends with a text."""
    before: list[str] = []
    assert log.stdout is not None
    for line in log.stdout:
        if line.rstrip("\n").endswith(text):
            return said("\n".join(before))
        before.append(line.rstrip("\n"))
    raise AssertionError(f"{text!r} did not come, but {before}")


def said(lines: str) -> list[str]:
    """The lines of a log without time and replica."""
    return [line.split(" ", 2)[2] for line in lines.splitlines()]
