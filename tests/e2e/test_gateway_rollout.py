"""Rollouts: what callers notice while revisions change, and what the commands print."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dcf
from dcf.errors import DcfError, FunctionNotFound, RolloutInvalid
from e2e.gateway_process import GatewayProcess, running

VERSION = """
import os, time

class Handler:
    def __call__(self, req):
        time.sleep(0.002)
        return "version {} " + os.environ.get("COLOUR", "plain")
"""

BROKEN = """
class Handler:
    def __init__(self):
        raise RuntimeError("the model is missing")

    def __call__(self, req):
        return "never"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        yield gateway


class Load:
    """Callers that call continuously.

    Attributes:
        errors: The errors that they got.
    """

    def __init__(self, gateway: GatewayProcess, name: str) -> None:
        self._gateway = gateway
        self._name = name
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._over = threading.Event()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                reply = self._gateway.client.call(self._name, b"").decode()
            except DcfError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                continue
            with self._lock:
                self._seen[reply.split()[1]] += 1

    def stop(self) -> None:
        self._over.set()

    def next(self, calls: int) -> Counter[str]:
        """Return the versions that answer the next calls."""
        before = self._counted()
        self._gateway.until(lambda: self.errors or (self._counted() - before).total() >= calls)
        assert self.errors == []
        return self._counted() - before

    def _counted(self) -> Counter[str]:
        with self._lock:
            return self._seen.copy()


@contextlib.contextmanager
def load(gateway: GatewayProcess, name: str) -> Iterator[Load]:
    """Run four concurrent callers, which must not get an error."""
    load = Load(gateway, name)
    threads = [threading.Thread(target=load.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join()
    assert load.errors == []


def write(gateway: GatewayProcess, name: str, version: int, config: str = "") -> Path:
    return gateway.write(name, VERSION.format(version), config=config)


def command(gateway: GatewayProcess, *arguments: str, code: int = 0) -> str:
    """Return the output of a command."""
    result = gateway.dcf("function", *arguments)
    assert result.returncode == code, result.stderr.decode()
    return result.stderr.decode()


def info(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    function: dict[str, Any] = json.loads(gateway.dcf("function", "info", name, "--json").stdout)
    return function


def test_no_call_fails_while_revisions_change(gateway: GatewayProcess) -> None:
    gateway.deploy(write(gateway, "busy", 1), "--min", "2")
    with load(gateway, "busy") as calls:
        assert set(calls.next(100)) == {"1"}

        gateway.deploy(write(gateway, "busy", 2))
        assert set(calls.next(100)) == {"2"}

        assert "busy: back to revision 1" in command(gateway, "rollback", "busy")
        assert set(calls.next(100)) == {"1"}
        assert "busy: back to revision 2" in command(gateway, "rollback", "busy", "2")
        assert set(calls.next(100)) == {"2"}

        folder = write(gateway, "busy", 3)
        output = command(gateway, "deploy", f"{folder}/", "--canary", "50%")
        assert "revision 3 takes 50 % of the calls, revision 2 takes the rest" in output
        shared = calls.next(400)
        assert set(shared) == {"2", "3"}
        assert 100 < shared["3"] < 300, "half of 400, give or take ten standard deviations"
        function = info(gateway, "busy")
        assert (function["revision"], function["canary"], function["share"]) == (2, 3, 50)

        assert "busy: revision 3 takes all calls" in command(gateway, "promote", "busy")
        assert set(calls.next(100)) == {"3"}
        assert info(gateway, "busy")["canary"] is None
    gateway.until(lambda: len(gateway.replicas("busy")) == 2)
    kinds = [event["kind"] for event in info(gateway, "busy")["events"]]
    assert kinds[:4] == ["promoted", "canary", "rolled-back", "rolled-back"]


def test_a_canary_ends_without_a_failed_call(gateway: GatewayProcess) -> None:
    gateway.deploy(write(gateway, "careful", 1))
    gateway.deploy(write(gateway, "careful", 2), "--canary", "20")
    with load(gateway, "careful") as calls:
        assert set(calls.next(200)) == {"1", "2"}
        gateway.deploy(write(gateway, "careful", 2), "--canary", "80")
        assert calls.next(200)["2"] > 100
        assert "careful: revision 1 takes all calls" in command(gateway, "abort", "careful")
        assert set(calls.next(100)) == {"1"}
    again = command(gateway, "abort", "careful", code=3)
    assert "careful has no canary" in again


def test_a_revision_that_cannot_start_never_serves_a_call(gateway: GatewayProcess) -> None:
    gateway.deploy(write(gateway, "steady", 1))
    folder = gateway.write("steady", BROKEN)
    with load(gateway, "steady") as calls:
        output = command(gateway, "deploy", f"{folder}/", "--canary", "50%", code=8)
        assert "the model is missing" in output
        assert set(calls.next(100)) == {"1"}
        output = command(gateway, "promote", "steady", code=8)
        assert "the model is missing" in output
        assert "Revision 1 keeps serving." in output
        assert set(calls.next(100)) == {"1"}
        command(gateway, "rollback", "steady")
        assert set(calls.next(100)) == {"1"}
    assert info(gateway, "steady")["state"] == "ready"


def test_a_rollback_or_canary_without_a_revision_is_rejected(gateway: GatewayProcess) -> None:
    folder = write(gateway, "single", 1)
    output = command(gateway, "deploy", f"{folder}/", "--canary", "10%", code=3)
    assert "single is not deployed yet" in output

    gateway.deploy(folder)
    for arguments, reason in (
        (("rollback", "single"), "single has no revision before its current one, 1"),
        (("rollback", "single", "7"), "single has no revision 7; it has 1"),
        (("promote", "single"), "single has no canary"),
        (("deploy", f"{folder}/", "--canary", "10%"), "which already serves"),
        (("rollback", "nobody"), "nobody"),
    ):
        assert reason in command(gateway, *arguments, code=3)
    assert gateway.call("single") == (200, b"version 1 plain")


def test_ten_revisions_are_kept_and_can_be_rolled_back_to(
    gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in gateway.env.items():
        monkeypatch.setenv(name, value)
    package = dcf.build(write(gateway, "many", 1))
    client = gateway.client
    for number in range(1, 13):
        spec = replace(package.spec, environment={"COLOUR": f"colour-{number}"})
        client.deploy(replace(package, spec=spec), wait=number == 12)

    assert [revision.number for revision in client.revisions("many")] == [*range(12, 2, -1)]
    assert command(gateway, "revisions", "many") == ""
    with pytest.raises(FunctionNotFound, match="it has 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"):
        client.rollback("many", 2)
    assert client.rollback("many", 3).serving == 3
    assert gateway.call("many") == (200, b"version 1 colour-3")
    with pytest.raises(RolloutInvalid, match="no revision before its current one, 3"):
        client.rollback("many")


def test_the_authors_numbers_of_replicas_apply_until_they_are_overridden(
    gateway: GatewayProcess,
) -> None:
    gateway.deploy(write(gateway, "sized", 1, "    scaling: {min: 2, max: 3, target: 5}\n"))
    assert len(gateway.replicas("sized")) == 2

    command(gateway, "scale", "sized", "1")
    gateway.until(lambda: len(gateway.replicas("sized")) == 1)
    function = info(gateway, "sized")
    assert (function["by_hand"], function["target"]) == (True, 5.0)
    assert "autoscaling from 2 to 3" in command(gateway, "scale", "sized", "--auto")
    gateway.until_ready("sized", 2)
    assert info(gateway, "sized")["by_hand"] is False
