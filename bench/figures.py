"""What a measurement yields, and how two things are compared."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

MICROSECOND = 1e-6
MILLISECOND = 1e-3


class SkippedBench(Exception):
    """A measurement cannot be made here, through no fault of the project; the message says why."""


class BenchFailed(Exception):
    """A measurement cannot run; the message says all that is to be said."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What is compared with what.
        value: The figure.
        unit: ``x`` for a ratio of medians, else a unit of time or size.
        bar: What is aimed at; None for a figure that is only told.
        at_least: Whether the figure should reach the bar; else it should stay below it.
        raw: The medians behind the figure, and how it varied from round to round.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = True
    raw: str = ""

    @property
    def met(self) -> bool:
        """Whether the bar is met; a figure without a bar always does."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def say(text: str) -> None:
    """Tells how far things are, beside the table."""
    print(text, file=sys.stderr, flush=True)


def alternate(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Measures A B A B ..., so that whatever the machine does besides meets both sides alike.

    Args:
        sides: What to measure, by name.
        rounds: How often.
        warm: Whether a first round is made that does not count.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-int(warm), rounds):
        for name, measure in sides.items():
            value = measure()
            if number >= 0:
                found[name].append(value)
    return found


def ratio(found: Mapping[str, list[float]], of: str, to: str) -> float:
    """The ratio of two medians."""
    return median(found[of]) / median(found[to])


def spread(found: Mapping[str, list[float]], of: str, to: str) -> str:
    """The least and the greatest ratio of one round."""
    each = [a / b for a, b in zip(found[of], found[to], strict=True)]
    return f"{min(each):.2f}-{max(each):.2f}"


def seconds_of(act: Callable[[], object]) -> float:
    """How long ``act`` takes."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin
