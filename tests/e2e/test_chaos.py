"""A moment of chaos, so that ``make chaos`` does not rot: a real gateway under load, kills included."""

from __future__ import annotations

from chaos.report import report
from chaos.run import run


def test_a_moment_of_chaos() -> None:
    seconds = 2.5
    result = run(seed=1, seconds=seconds)
    told = list(report(result, seconds))
    assert result.violations == [], "\n".join(told)
    ways = {way for way, _, _ in result.calls}
    assert {"http", "300 KB", "slow", "chunks", "grpc"} <= ways
