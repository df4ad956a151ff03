"""When chaos does what it does rarely."""

from __future__ import annotations

from itertools import pairwise

from chaos.killer import FREEZES, Killer, Rare
from chaos.parts import Part, parse


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
    killer = Killer.__new__(Killer)
    assert set(killer._freezes()) == set(FREEZES)


def test_parts_are_named_with_commas_between_them():
    assert parse("moving,hangs") == {Part.MOVING, Part.HANGS}
    assert parse("") == frozenset()
