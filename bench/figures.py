"""The result of a measurement, and the comparison of two things."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

MICROSECOND = 1e-6
MILLISECOND = 1e-3


class SkippedBench(Exception):
    """A measurement is not possible, for a reason outside the project."""


class BenchFailed(Exception):
    """A measurement failed; the message is complete."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table.

    Attributes:
        name: What is compared with what.
        value: The figure.
        unit: ``x`` for a ratio of medians, else a unit of time or size.
        bar: The target; None for a figure without a target.
        at_least: Whether the figure must be at least the bar; otherwise at most.
        raw: The medians behind the figure, and their range over the rounds.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = True
    raw: str = ""

    @property
    def met(self) -> bool:
        """Return whether the bar is met; a figure without a bar always meets it."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def progress(text: str) -> None:
    """Report progress, separately from the table."""
    print(text, file=sys.stderr, flush=True)


def alternate(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Measure A B A B ..., so that other load on the machine affects both sides equally.

    Args:
        sides: The measurements, by name.
        rounds: Number of rounds.
        warm: Whether to run a first round that is not counted.
    """
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-int(warm), rounds):
        for name, measure in sides.items():
            value = measure()
            if number >= 0:
                samples[name].append(value)
    return samples


def ratio(samples: Mapping[str, list[float]], of: str, to: str) -> float:
    """Return the ratio of two medians."""
    return median(samples[of]) / median(samples[to])


def spread(samples: Mapping[str, list[float]], of: str, to: str) -> str:
    """Return the range of the ratio over single rounds."""
    each = [a / b for a, b in zip(samples[of], samples[to], strict=True)]
    return f"{min(each):.2f}-{max(each):.2f}"


def seconds_of(act: Callable[[], object]) -> float:
    """Return the duration of ``act``."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin
