"""``loop.py FOLDER FILE``: calls the handler in FOLDER with the bytes of FILE, one call at a time.

For each line of standard input, a number of calls, it prints their duration in seconds.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from pathlib import Path

from dcf import Request


def main() -> None:
    """Run bursts until standard input ends."""
    body = Path(sys.argv[2]).read_bytes()
    os.chdir(sys.argv[1])
    sys.path.insert(0, sys.argv[1])
    handler = import_module("handler").Handler()
    handler(Request(body))
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            handler(Request(body))
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
