"""``python -m chaos [--seed N] [--seconds N]``: kills and deploys at random, and checks everything.

It runs a gateway under mixed load. Meanwhile it kills and stops the gateway's processes, deploys
and deletes functions, lets handlers end or block their own processes, and lets callers misbehave.
No call may be lost except those that had begun in a killed process; no process and no deploy may be
lost. The seed determines all random choices; the timing depends on the machine.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from chaos.parts import Part, parse
from chaos.report import report
from chaos.run import run

MOST_SEED = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it once; return 1 if there was a violation."""
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--seed", type=int, help="of all random choices; random if not given")
    parser.add_argument("--seconds", type=float, default=120.0, help="duration (120)")
    parser.add_argument(
        "--without",
        type=parse,
        default=frozenset(),
        metavar="PART,...",
        help=f"parts to leave out: {', '.join(Part)}",
    )
    options = parser.parse_args(arguments)
    seed = random.randrange(MOST_SEED) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}, {options.seconds:g} s\n")
    sys.stdout.flush()
    result = run(seed, options.seconds, options.without)
    for line in report(result, options.seconds):
        sys.stdout.write(f"{line}\n")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
