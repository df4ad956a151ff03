"""The duration of a first build, of a build without changes, and of a run of examples/01-hello-dcf.

It runs whole processes, on a copy of the example, with an empty data folder for each first build.
uv's cache is the user's and warm: a build before the first measured build downloads what is
missing. Without a lock the build asks the package index for versions, so that figure depends on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.environments import cache_folder
from bench.figures import Figure, alternate, seconds_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "01-hello-dcf"
FUNCTION = "hello-dcf"
LOCK = "requirements.lock"
ROUNDS = 5
FIRST_BAR = 3.0
UNCHANGED_BAR = 0.5
RUN_BAR = 0.8


def measure() -> Iterator[Figure]:
    """Yield seconds."""
    # Next to uv's cache, as a user's data folder is: within one file system, uv links files.
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as scratch:
        bench = _Bench(Path(scratch))
        samples = alternate(
            {
                "first, without a lock": lambda: bench.first(locked=False),
                "first, locked": lambda: bench.first(locked=True),
                "nothing changed": bench.build,
                "run": bench.run,
            },
            ROUNDS,
        )
    for name, side, bar in (
        ("first build, lock present, uv's cache warm", "first, locked", FIRST_BAR),
        ("first build, no lock, uv's cache warm", "first, without a lock", FIRST_BAR),
        ("function build, nothing changed", "nothing changed", UNCHANGED_BAR),
        ("function run, already built", "run", RUN_BAR),
    ):
        times = samples[side]
        raw = f"{median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"
        yield Figure(name, median(times), "s", bar, at_least=False, raw=raw)


class _Bench:
    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / FUNCTION
        shutil.copytree(EXAMPLE, self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._data = scratch / "data"
        self._script = str(Path(sys.executable).parent / "dcf-cli")
        base = {name: value for name, value in os.environ.items() if not name.startswith("DCF_")}
        self._env = {**base, "DCF_DATA_DIR": str(self._data)}

    def first(self, *, locked: bool) -> float:
        """Build with an empty data folder."""
        shutil.rmtree(self._data, ignore_errors=True)
        lock = self._folder / LOCK
        if not locked:
            lock.unlink(missing_ok=True)
        elif not lock.exists():
            raise AssertionError("the build before has left no lock")
        return self.build()

    def build(self) -> float:
        """Build without changes."""
        return seconds_of(lambda: self._call("build"))

    def run(self) -> float:
        """Call the function once."""
        return seconds_of(lambda: self._call("run"))

    def _call(self, command: str) -> None:
        arguments = [self._script, "function", command, str(self._folder)]
        done = subprocess.run(
            arguments, input=b"Hello", capture_output=True, env=self._env, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"{arguments} failed: {done.stderr.decode(errors='replace')}")
