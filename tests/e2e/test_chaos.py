"""A moment of chaos, so that ``make chaos`` does not rot: a real gateway under load, kills included."""

from __future__ import annotations

import pytest

from chaos.parts import Part
from chaos.report import report
from chaos.run import run

pytestmark = pytest.mark.slow

LONG = frozenset({Part.FREEZES, Part.HANGS})
"""Parts that take longer than a moment: a stopped process is replaced after 10 to 20 s."""


def test_a_moment_of_chaos() -> None:
    seconds = 2.5
    result = run(seed=1, seconds=seconds, without=LONG)
    told = list(report(result, seconds))
    assert result.violations == [], "\n".join(told)
    ways = {way for way, _, _ in result.calls}
    assert {"http", "300 KB", "slow", "chunks", "grpc"} <= ways
