"""The start time of the command line, relative to the minimum of Python.

It runs whole processes of one interpreter, in turn: the installed ``dcf-cli`` script as a shell
would start it, ``import dcf`` as an author's file does, and ``pass``. All three include the start
of the interpreter and the cost of its environment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.figures import MILLISECOND, Figure, alternate, ratio, seconds_of, spread

ROUNDS = 25
HELP_BAR = 6.0
IMPORT_BAR = 3.0


def measure() -> Iterator[Figure]:
    """Yield ratios of start times."""
    script = Path(sys.executable).parent / "dcf-cli"
    samples = alternate(
        {
            "pass": _process([sys.executable, "-c", "pass"]),
            "import": _process([sys.executable, "-c", "import dcf"]),
            "help": _process([str(script), "--help"]),
        },
        ROUNDS,
    )
    base = median(samples["pass"]) / MILLISECOND
    for name, side, bar in (
        ("dcf-cli --help / python -c pass", "help", HELP_BAR),
        ("import dcf / python -c pass", "import", IMPORT_BAR),
    ):
        raw = (
            f"{median(samples[side]) / MILLISECOND:.1f} ms / {base:.1f} ms"
            f" ({spread(samples, side, 'pass')})"
        )
        yield Figure(name, ratio(samples, side, "pass"), "x", bar, at_least=False, raw=raw)


def _process(command: Sequence[str]) -> Callable[[], float]:
    def once() -> float:
        return seconds_of(
            lambda: subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
            )
        )

    return once
