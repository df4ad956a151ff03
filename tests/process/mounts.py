"""Programs that see another disk: a full one, or one that is read-only."""

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
    """A command prefix: runs the rest in a mount namespace of its own after a script."""
    return ["unshare", "-Urm", "sh", "-c", f'{script} && exec "$@"', "sh"]
