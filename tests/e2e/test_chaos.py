"""Runs chaos briefly, with a real gateway, load and kills, so that ``make chaos`` keeps working."""

from __future__ import annotations

import pytest

from chaos.parts import Part
from chaos.report import report
from chaos.run import run

pytestmark = pytest.mark.slow

LONG = frozenset({Part.FREEZES, Part.HANGS})
"""Parts that a short run leaves out: replacing a stopped process takes 10 to 20 s."""


def test_a_short_run_of_chaos_finds_no_violation() -> None:
    seconds = 2.5
    result = run(seed=1, seconds=seconds, without=LONG)
    lines = list(report(result, seconds))
    assert result.violations == [], "\n".join(lines)
    ways = {way for way, _, _ in result.calls}
    assert {"http", "300 KB", "slow", "chunks", "grpc"} <= ways
