"""What chaos does to processes, and when it does what it does rarely."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from chaos import killer
from chaos.killer import FREEZES, Killer, Rare
from chaos.parts import Part, parse
from chaos.spans import History, Kind
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY


def times(seed: str, seconds: float) -> dict[str, list[float]]:
    rare, found = Rare(FREEZES, seed), dict[str, list[float]]()
    rare.start(0)
    for step in range(int(seconds * 10)):
        for name in rare.due(step / 10):
            found.setdefault(name, []).append(step / 10)
    return found


def test_a_seed_decides_when_each_is_done_and_each_has_its_rate():
    assert times("1", 120) == times("1", 120) != times("2", 120)
    found = times("1", 12_000)
    assert set(found) == set(FREEZES)
    for name, mean in FREEZES.items():
        assert 0.7 * 12_000 / mean < len(found[name]) < 1.4 * 12_000 / mean


def test_a_run_is_not_filled_by_one_of_them():
    for name, done in times("1", 12_000).items():
        pauses = [later - earlier for earlier, later in pairwise(done)]
        assert min(pauses) >= FREEZES[name] / 2 - 0.1
    assert all(len(times(str(seed), 120).get("stop Envoy", ())) <= 2 for seed in range(50))


def test_every_name_is_something_that_the_killer_does():
    assert set(Killer.__new__(Killer)._freezes()) == set(FREEZES)


def test_parts_are_named_with_commas_between_them():
    assert parse("moving,hangs") == {Part.MOVING, Part.HANGS}
    assert parse("") == frozenset()


class Parts:
    """A world of processes that only sleep."""

    def __init__(self) -> None:
        self.started = {
            name: subprocess.Popen(["sleep", "600"]) for name in (CONTROL, BRIDGE, ENVOY, "first")
        }
        self.root = self.started["first"].pid
        self.supervisor = 0

    def pid(self, name: str) -> int:
        return self.started[name].pid

    def replicas(self) -> dict[str, int]:
        return {}

    def _answers(self, name: str) -> bool:
        return not is_stopped(self.pid(name))

    def control_answers(self) -> bool:
        return self._answers(CONTROL)

    def bridge_answers(self) -> bool:
        return self._answers(BRIDGE)

    def envoy_answers(self) -> bool:
        return self._answers(ENVOY)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setattr(killer, "SHORTEST_STOP", 0.05)
    monkeypatch.setattr(killer, "LONGEST_STOP", 0.1)
    monkeypatch.setattr(killer, "BACK", 0.5)
    monkeypatch.setattr(killer, "HEALED", dict.fromkeys((CONTROL, BRIDGE, ENVOY), 0.0))
    made = Parts()
    yield made
    for process in made.started.values():
        process.kill()
        process.wait()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def only(monkeypatch: pytest.MonkeyPatch, deed: str) -> None:
    """Has one thing done, at once and then never again, and nothing else."""
    monkeypatch.setattr(Killer, "_choose", lambda _: None)
    for part in ("control", "envoy", "bridge"):
        monkeypatch.setattr(Killer, f"_kill_{part}", lambda _: None)
    monkeypatch.setattr(killer, "FREEZES", {deed: 1e9})
    monkeypatch.setattr(Rare, "_pause", lambda rare, _: 1e9 if rare._due else 0.0)


def test_what_is_stopped_for_a_while_goes_on(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "stop first process for a while")
    history = History()
    one = Killer(parts, history, "1")  # type: ignore[arg-type]
    one.start()
    until(lambda: bool(history.facts().lengths(Kind.FIRST)))
    assert not is_stopped(parts.root)
    one.stop()
    assert one.violations == []


@pytest.mark.parametrize(
    ("name", "deed", "kinds"),
    [
        (CONTROL, "stop control plane", {Kind.CONTROL}),
        (BRIDGE, "stop bridge", {Kind.BRIDGE}),
        (ENVOY, "stop Envoy", {Kind.ENVOY, Kind.STILL}),
    ],
)
def test_what_is_stopped_must_be_replaced(
    name: str, deed: str, kinds: set[Kind], parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, deed)
    history, stopped = History(), parts.started[name]
    one = Killer(parts, history, "1")  # type: ignore[arg-type]
    one.start()
    until(lambda: is_stopped(stopped.pid))
    parts.started[name] = subprocess.Popen(["sleep", "600"])
    until(lambda: all(history.facts().lengths(kind) for kind in kinds))
    one.stop()
    assert one.violations == []
    stopped.kill()
    stopped.wait()


def test_what_nobody_replaces_is_told_and_goes_on_at_the_end(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "stop control plane")
    one = Killer(parts, History(), "1")  # type: ignore[arg-type]
    one.start()
    until(lambda: is_stopped(parts.pid(CONTROL)))
    one.stop()
    [violation] = one.violations
    assert violation == "gateway.control did not answer within 0.5 s after it was killed or stopped"
    assert not is_stopped(parts.pid(CONTROL))
