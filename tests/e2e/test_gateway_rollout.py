"""Another revision comes, is tried, goes back: what callers see of it, and what the commands tell."""

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
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        yield house


class Load:
    """Callers who never stop.

    Attributes:
        errors: What went wrong.
    """

    def __init__(self, house: GatewayProcess, name: str) -> None:
        self._house = house
        self._name = name
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._over = threading.Event()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                reply = self._house.client.call(self._name, b"").decode()
            except DcfError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                continue
            with self._lock:
                self._seen[reply.split()[1]] += 1

    def stop(self) -> None:
        self._over.set()

    def next(self, calls: int) -> Counter[str]:
        """Which versions answer so many further calls."""
        before = self._counted()
        self._house.until(lambda: self.errors or (self._counted() - before).total() >= calls)
        assert self.errors == []
        return self._counted() - before

    def _counted(self) -> Counter[str]:
        with self._lock:
            return self._seen.copy()


@contextlib.contextmanager
def load(house: GatewayProcess, name: str) -> Iterator[Load]:
    """Four callers at a time, none of whom may see an error."""
    found = Load(house, name)
    threads = [threading.Thread(target=found.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stop()
        for thread in threads:
            thread.join()
    assert found.errors == []


def write(house: GatewayProcess, name: str, version: int, config: str = "") -> Path:
    return house.write(name, VERSION.format(version), config=config)


def command(house: GatewayProcess, *arguments: str, code: int = 0) -> str:
    """What a command says."""
    done = house.dcf("function", *arguments)
    assert done.returncode == code, done.stderr.decode()
    return done.stderr.decode()


def info(house: GatewayProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.dcf("function", "info", name, "--json").stdout)
    return found


def test_no_call_fails_while_revisions_come_and_go(house: GatewayProcess) -> None:
    house.deploy(write(house, "busy", 1), "--min", "2")
    with load(house, "busy") as calls:
        assert set(calls.next(100)) == {"1"}

        house.deploy(write(house, "busy", 2))
        assert set(calls.next(100)) == {"2"}

        assert "busy: back to revision 1" in command(house, "rollback", "busy")
        assert set(calls.next(100)) == {"1"}
        assert "busy: back to revision 2" in command(house, "rollback", "busy", "2")
        assert set(calls.next(100)) == {"2"}

        folder = write(house, "busy", 3)
        said = command(house, "deploy", f"{folder}/", "--canary", "50%")
        assert "revision 3 takes 50 % of the calls, revision 2 takes the rest" in said
        shared = calls.next(400)
        assert set(shared) == {"2", "3"}
        assert 100 < shared["3"] < 300, "half of 400, give or take ten standard deviations"
        found = info(house, "busy")
        assert (found["revision"], found["canary"], found["share"]) == (2, 3, 50)

        assert "busy: revision 3 takes all calls" in command(house, "promote", "busy")
        assert set(calls.next(100)) == {"3"}
        assert info(house, "busy")["canary"] is None
    house.until(lambda: len(house.replicas("busy")) == 2)
    kinds = [one["kind"] for one in info(house, "busy")["events"]]
    assert kinds[:4] == ["promoted", "canary", "rolled-back", "rolled-back"]


def test_a_canary_is_ended_without_a_failed_call(house: GatewayProcess) -> None:
    house.deploy(write(house, "careful", 1))
    house.deploy(write(house, "careful", 2), "--canary", "20")
    with load(house, "careful") as calls:
        assert set(calls.next(200)) == {"1", "2"}
        house.deploy(write(house, "careful", 2), "--canary", "80")
        assert calls.next(200)["2"] > 100
        assert "careful: revision 1 takes all calls" in command(house, "abort", "careful")
        assert set(calls.next(100)) == {"1"}
    again = command(house, "abort", "careful", code=3)
    assert "careful has no canary" in again


def test_a_revision_that_cannot_start_never_takes_a_call(house: GatewayProcess) -> None:
    house.deploy(write(house, "steady", 1))
    folder = house.write("steady", BROKEN)
    with load(house, "steady") as calls:
        said = command(house, "deploy", f"{folder}/", "--canary", "50%", code=8)
        assert "the model is missing" in said
        assert set(calls.next(100)) == {"1"}
        said = command(house, "promote", "steady", code=8)
        assert "the model is missing" in said
        assert "Revision 1 keeps serving." in said
        assert set(calls.next(100)) == {"1"}
        command(house, "rollback", "steady")
        assert set(calls.next(100)) == {"1"}
    assert info(house, "steady")["state"] == "ready"


def test_what_has_nothing_to_go_back_to_or_to_try_is_refused(house: GatewayProcess) -> None:
    folder = write(house, "single", 1)
    told = command(house, "deploy", f"{folder}/", "--canary", "10%", code=3)
    assert "single is not deployed yet" in told

    house.deploy(folder)
    for asked, reason in (
        (("rollback", "single"), "single has no revision before 1"),
        (("rollback", "single", "7"), "single has no revision 7; it has 1"),
        (("promote", "single"), "single has no canary"),
        (("deploy", f"{folder}/", "--canary", "10%"), "which serves already"),
        (("rollback", "nobody"), "nobody"),
    ):
        assert reason in command(house, *asked, code=3)
    assert house.call("single") == (200, b"version 1 plain")


def test_ten_revisions_are_kept_and_can_be_gone_back_to(
    house: GatewayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in house.env.items():
        monkeypatch.setenv(name, value)
    package = dcf.build(write(house, "many", 1))
    client = house.client
    for number in range(1, 13):
        spec = replace(package.spec, environment={"COLOUR": f"colour-{number}"})
        client.deploy(replace(package, spec=spec), wait=number == 12)

    assert [one.number for one in client.revisions("many")] == [*range(12, 2, -1)]
    assert command(house, "revisions", "many") == ""
    with pytest.raises(FunctionNotFound, match="it has 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"):
        client.rollback("many", 2)
    assert client.rollback("many", 3).serving == 3
    assert house.call("many") == (200, b"version 1 colour-3")
    with pytest.raises(RolloutInvalid, match="no revision before 3"):
        client.rollback("many")


def test_the_numbers_of_replicas_are_the_authors_until_somebody_asks_for_others(
    house: GatewayProcess,
) -> None:
    house.deploy(write(house, "sized", 1, "    scaling: {min: 2, max: 3, target: 5}\n"))
    assert len(house.replicas("sized")) == 2

    command(house, "scale", "sized", "1")
    house.until(lambda: len(house.replicas("sized")) == 1)
    found = info(house, "sized")
    assert (found["by_hand"], found["target"]) == (True, 5.0)
    assert "autoscaling from 2 to 3" in command(house, "scale", "sized", "--auto")
    house.until_ready("sized", 2)
    assert info(house, "sized")["by_hand"] is False
