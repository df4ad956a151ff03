"""What chaos does to processes, and the schedule of its rare actions."""

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
    rare, times_by_name = Rare(FREEZES, seed), dict[str, list[float]]()
    rare.start(0)
    for step in range(int(seconds * 10)):
        for name in rare.due(step / 10):
            times_by_name.setdefault(name, []).append(step / 10)
    return times_by_name


def test_a_seed_determines_the_times_and_each_action_has_its_rate():
    assert times("1", 120) == times("1", 120) != times("2", 120)
    times_by_name = times("1", 12_000)
    assert set(times_by_name) == set(FREEZES)
    for name, mean in FREEZES.items():
        assert 0.7 * 12_000 / mean < len(times_by_name[name]) < 1.4 * 12_000 / mean


def test_no_single_action_fills_a_run():
    for name, done in times("1", 12_000).items():
        pauses = [later - earlier for earlier, later in pairwise(done)]
        assert min(pauses) >= FREEZES[name] / 2 - 0.1
    assert all(len(times(str(seed), 120).get("stop Envoy", ())) <= 2 for seed in range(50))


def test_every_name_is_an_action_of_the_killer():
    assert set(Killer.__new__(Killer)._freezes()) == set(FREEZES)


def test_parts_are_separated_by_commas():
    assert parse("moving,hangs") == {Part.MOVING, Part.HANGS}
    assert parse("") == frozenset()


class Parts:
    """A gateway whose processes only sleep."""

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
    """Schedule a single action, immediately and only once, and nothing else."""
    monkeypatch.setattr(Killer, "_choose", lambda _: None)
    for part in ("control", "envoy", "bridge"):
        monkeypatch.setattr(Killer, f"_kill_{part}", lambda _: None)
    monkeypatch.setattr(killer, "FREEZES", {deed: 1e9})
    monkeypatch.setattr(Rare, "_pause", lambda rare, _: 1e9 if rare._due else 0.0)


def test_a_process_that_is_stopped_for_a_while_continues(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "stop first process for a while")
    history = History()
    chaos_killer = Killer(parts, history, "1")  # type: ignore[arg-type]
    chaos_killer.start()
    until(lambda: bool(history.facts().lengths(Kind.FIRST)))
    assert not is_stopped(parts.root)
    chaos_killer.stop()
    assert chaos_killer.violations == []


@pytest.mark.parametrize(
    ("name", "deed", "kinds"),
    [
        (CONTROL, "stop control plane", {Kind.CONTROL}),
        (BRIDGE, "stop bridge", {Kind.BRIDGE}),
        (ENVOY, "stop Envoy", {Kind.ENVOY, Kind.STILL}),
    ],
)
def test_a_stopped_part_must_be_replaced(
    name: str, deed: str, kinds: set[Kind], parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, deed)
    history, stopped = History(), parts.started[name]
    chaos_killer = Killer(parts, history, "1")  # type: ignore[arg-type]
    chaos_killer.start()
    until(lambda: is_stopped(stopped.pid))
    parts.started[name] = subprocess.Popen(["sleep", "600"])
    until(lambda: all(history.facts().lengths(kind) for kind in kinds))
    chaos_killer.stop()
    assert chaos_killer.violations == []
    stopped.kill()
    stopped.wait()


def test_a_part_that_is_not_replaced_is_reported_and_continues_at_the_end(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "stop control plane")
    chaos_killer = Killer(parts, History(), "1")  # type: ignore[arg-type]
    chaos_killer.start()
    until(lambda: is_stopped(parts.pid(CONTROL)))
    chaos_killer.stop()
    [violation] = chaos_killer.violations
    assert violation == "gateway.control did not answer within 0.5 s after it was killed or stopped"
    assert not is_stopped(parts.pid(CONTROL))
