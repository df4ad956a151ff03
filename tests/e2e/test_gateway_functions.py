"""The commands about deployed functions: their output and their effects."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("talker", TALKER.format(version=1), config=LOOKS))
        gateway.dcf("function", "deploy", f"{gateway.write('faulty', FAULTY)}/")
        yield gateway


def printed(gateway: GatewayProcess, *arguments: str) -> str:
    """Return the output of a command that succeeds."""
    result = gateway.dcf("function", *arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def info(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    function: dict[str, Any] = json.loads(printed(gateway, "info", name, "--json"))
    return function


def test_the_list_has_the_columns_of_the_original(gateway: GatewayProcess) -> None:
    calls = info(gateway, "talker")["invocations"]
    titles, faulty, talker = printed(gateway, "list").splitlines()

    expected = "Function Image Maintainer Invocations Replicas Status Description"
    assert titles.split() == expected.split()
    assert faulty.split()[0] == "faulty"
    assert "Not Ready" in faulty
    image = "registry.example:5000/talker"
    row = ["talker", image, "Ada", str(calls), "1", "Ready", "Repeats what it hears"]
    assert re.split(r"  +", talker) == row
    assert printed(gateway, "ls", "-q") == "faulty\ntalker\n"
    assert [function["name"] for function in json.loads(printed(gateway, "list", "--json"))] == [
        "faulty",
        "talker",
    ]


def test_info_shows_the_details_of_a_function(gateway: GatewayProcess) -> None:
    text = printed(gateway, "info", "talker")

    for part in (
        "Ready",
        "Ada",
        "team=voices",
        "Repeats what it hears",
        "1 of 1 ready",
        gateway.url,
    ):
        assert part in text
    talker = info(gateway, "talker")
    assert (talker["state"], talker["revision"], talker["failure"]) == ("ready", 1, None)
    assert [replica["state"] for replica in talker["replica_list"]] == ["ready"]
    assert [event["kind"] for event in talker["events"]] == ["deployed"]
    assert talker["url"] == f"{gateway.url}/function/talker"


def test_every_command_shows_why_a_function_cannot_start(gateway: GatewayProcess) -> None:
    gateway.until(lambda: gateway.client.function("faulty").state == "crash-loop")

    assert "Not Ready (crash-loop)" in printed(gateway, "list")
    text = printed(gateway, "info", "faulty")
    assert "Last failure" in text
    assert 'raise RuntimeError("the model is missing")' in text
    lines = printed(gateway, "log", "faulty").splitlines()
    assert sum("RuntimeError: the model is missing" in line for line in lines) >= 3
    assert len({line.split()[1] for line in lines}) >= 3, "lines of replicas that have ended"
    result = gateway.dcf("function", "call", "faulty")
    assert result.returncode == 8
    assert b"RuntimeError: the model is missing" in result.stderr


def test_a_function_is_scaled_up_and_down(gateway: GatewayProcess) -> None:
    assert (
        "Replicas of talker: 1 to 3"
        in gateway.dcf("function", "scale", "talker", "3").stderr.decode()
    )
    gateway.until_ready("talker", 3)
    assert len(gateway.replicas("talker")) == 3
    printed(gateway, "scale", "talker", "0")
    gateway.until(lambda: not gateway.replicas("talker"))
    assert info(gateway, "talker")["state"] == "idle"
    printed(gateway, "scale", "talker", "1")
    gateway.until_ready("talker")
    assert gateway.dcf("function", "scale", "talker", "-1").returncode == 2
    assert gateway.dcf("function", "scale", "talker", "1000000").returncode == 3


def test_a_log_is_limited_by_lines_and_by_time(gateway: GatewayProcess) -> None:
    words = [f"word-{number}" for number in range(4)]
    for word in words[:2]:
        gateway.call("talker", word.encode())
    gateway.until(lambda: "heard word-1" in printed(gateway, "log", "talker", "--tail", "1"))
    between = datetime.now(UTC).isoformat()
    for word in words[2:]:
        gateway.call("talker", word.encode())
    gateway.until(lambda: "heard word-3" in printed(gateway, "log", "talker", "--tail", "1"))

    assert texts(printed(gateway, "log", "talker", "--tail", "3")) == [
        f"heard {word}" for word in words[1:]
    ]
    assert texts(printed(gateway, "log", "talker", "--since", between)) == [
        "heard word-2",
        "heard word-3",
    ]
    assert texts(printed(gateway, "log", "talker", "--tail", "0")) == []
    assert "version 1 begins" in texts(printed(gateway, "log", "talker", "--since", "1h"))
    replica = printed(gateway, "log", "talker", "--tail", "1").split()[1]
    mine = printed(gateway, "log", "talker", "--replica", replica)
    assert {line.split()[1] for line in mine.splitlines()} == {replica}
    assert gateway.dcf("function", "log", "talker", "--replica", "nobody").returncode == 11
    assert gateway.dcf("function", "log", "talker", "--since", "yesterday").returncode == 2


def test_a_log_is_followed_into_later_replicas(gateway: GatewayProcess) -> None:
    with following(gateway, "talker", "--tail", "1") as log:
        gateway.call("talker", b"before")
        read_until(log, "heard before")
        gateway.deploy(gateway.write("talker", TALKER.format(version=2), config=LOOKS))
        read_until(log, "version 2 begins")
        gateway.call("talker", b"after")
        read_until(log, "heard after")
        log.send_signal(signal.SIGINT)
        assert log.wait(20) == 130


def test_following_a_log_survives_the_control_plane(gateway: GatewayProcess) -> None:
    with following(gateway, "talker", "--tail", "1") as log:
        gateway.call("talker", b"calm")
        read_until(log, "heard calm")
        before = gateway.pid("gateway.control")
        gateway.kill("gateway.control")
        gateway.call("talker", b"storm")
        gateway.until(lambda: gateway.pid("gateway.control") not in {0, before})
        assert read_until(log, "heard storm") == [], "nothing comes twice"


def test_a_function_is_deleted_with_everything_that_belongs_to_it(gateway: GatewayProcess) -> None:
    gateway.deploy(gateway.write("brief", TALKER.format(version=1)))
    printed(gateway, "delete", "brief")

    assert gateway.call("brief")[0] == 404
    gateway.until(lambda: not gateway.replicas("brief"))
    gateway.until(lambda: not list(gateway.places.replicas.glob("brief*")))
    assert "brief" not in printed(gateway, "list", "-q")
    again = gateway.dcf("function", "delete", "brief")
    assert again.returncode == 3
    assert b"brief" in again.stderr


@contextmanager
def following(gateway: GatewayProcess, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*CLI, "function", "log", "--follow", *arguments]
    log = subprocess.Popen(command, env=gateway.env, stdout=subprocess.PIPE, text=True)
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
    """Return the text before the line that ends with a given text."""
    before: list[str] = []
    assert log.stdout is not None
    for line in log.stdout:
        if line.rstrip("\n").endswith(text):
            return texts("\n".join(before))
        before.append(line.rstrip("\n"))
    raise AssertionError(f"{text!r} did not come, but {before}")


def texts(lines: str) -> list[str]:
    """Return the lines of a log without time and replica."""
    return [line.split(" ", 2)[2] for line in lines.splitlines()]
