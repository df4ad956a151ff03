"""A moment of chaos, so that ``make chaos`` does not rot: a real gateway under load, kills included."""

from __future__ import annotations

from chaos.parts import Part
from chaos.report import report
from chaos.run import run

LATER = frozenset({
    Part.MOVING, Part.FREEZES, Part.OVERDUE, Part.CRASHES, Part.HANGS, Part.FORKS, Part.REPORTS,
    Part.BODIES,
})  # fmt: skip
"""Parts that the gateway does not stand yet."""


def test_a_moment_of_chaos() -> None:
    seconds = 2.5
    result = run(seed=1, seconds=seconds, without=LATER)
    told = list(report(result, seconds))
    assert result.violations == [], "\n".join(told)
    ways = {way for way, _, _ in result.calls}
    assert {"http", "300 KB", "slow", "chunks", "grpc"} <= ways
