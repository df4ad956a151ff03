"""The private folder for sockets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dcf.errors import StorageError


def make_private(folder: Path) -> None:
    """Create a folder in which only this user can create sockets, or make it so.

    Its parent is usually open to all users, so another user may have created it first.

    Raises:
        OSError: If it cannot be created.
        StorageError: If it belongs to another user, or is a link.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StorageError(
            f"{folder}: expected a folder of this user, got another user's folder or a link; set"
            " DCF_RUNTIME_DIR to another folder"
        )
    folder.chmod(0o700)
