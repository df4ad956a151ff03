"""``python -m chaos [--seed N] [--seconds N]``: kills and deploys at random, and looks at it all.

A gateway under mixed load has its processes killed and stopped while functions come and go, while
handlers end or block their own processes, and while callers do what they must not. No call may be
lost but those that had begun on what is killed, no process and no deploy either. The seed decides
what is drawn; the machine decides which instants that meets.
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
    """Runs it once; returns 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--seed", type=int, help="of all that is drawn; drawn itself if not given")
    parser.add_argument("--seconds", type=float, default=120.0, help="of chaos (120)")
    parser.add_argument(
        "--without",
        type=parse,
        default=frozenset(),
        metavar="PART,...",
        help=f"parts to leave out: {', '.join(Part)}",
    )
    given = parser.parse_args(arguments)
    seed = random.randrange(MOST_SEED) if given.seed is None else given.seed
    sys.stdout.write(f"seed {seed}, {given.seconds:g} s\n")
    sys.stdout.flush()
    result = run(seed, given.seconds, given.without)
    for line in report(result, given.seconds):
        sys.stdout.write(f"{line}\n")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
