"""Environments for third-party servers, so that they are not dependencies of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import SkippedBench, progress
from uv import find_uv_bin


def cache_folder() -> Path:
    """Return the folder for environments and builds that are kept between runs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "dcf-bench"


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return an environment with the newest ``packages`` of the package index, created once.

    It uses the Python that runs this. Delete the cache folder to get newer versions.

    Returns:
        Its interpreter.

    Raises:
        SkippedBench: If it cannot be created.
    """
    folder = cache_folder() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    note = folder / "packages.txt"
    wanted = "\n".join(packages)
    if note.is_file() and note.read_text() == wanted:
        return python
    progress(f"installing {', '.join(packages)} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    uv = find_uv_bin()
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SkippedBench(f"{', '.join(packages)} cannot be installed: {done.stderr.strip()}")
    note.write_text(wanted)
    return python
