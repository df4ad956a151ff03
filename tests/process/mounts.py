"""Programs that see another disk, which is full or read-only."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def unshare_works() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    not unshare_works(), reason="mounting needs user namespaces, which this machine does not allow"
)


def mounted(script: str) -> list[str]:
    """Return a command prefix that runs a script, then the rest, in a separate mount namespace."""
    return ["unshare", "-Urm", "sh", "-c", f'{script} && exec "$@"', "sh"]
