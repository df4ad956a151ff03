"""Environments for the servers that others wrote, so that none of them is a dependency here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import SkippedBench, say
from uv import find_uv_bin


def cache_folder() -> Path:
    """Where environments and builds are kept from one run to the next."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "dcf-bench"


def environment(name: str, packages: Sequence[str]) -> Path:
    """An environment with the newest ``packages`` from the package index, made once.

    It has the Python that runs this. Delete the cache folder to take newer versions.

    Returns:
        Its interpreter.

    Raises:
        SkippedBench: When it cannot be made.
    """
    place = cache_folder() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = place / "bin" / "python"
    note = place / "packages.txt"
    wanted = "\n".join(packages)
    if note.is_file() and note.read_text() == wanted:
        return python
    say(f"installing {', '.join(packages)} into {place}")
    shutil.rmtree(place, ignore_errors=True)
    uv = find_uv_bin()
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SkippedBench(f"{', '.join(packages)} cannot be installed: {done.stderr.strip()}")
    note.write_text(wanted)
    return python
