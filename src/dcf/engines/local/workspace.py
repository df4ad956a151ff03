"""A folder for one replica: its source, its secrets, its socket's name. Gone when it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcf.errors import NO_SPACE, DiskFull, StorageError
from dcf.settings import SOCKET_PATH_LIMIT


@dataclass(frozen=True, slots=True)
class Workspace:
    """One replica's folder.

    Attributes:
        root: The folder, private to the user.
        listen: Where the watcher is to listen, as in ``WatcherSettings.listen``.
    """

    root: Path
    listen: str

    @property
    def source(self) -> Path:
        """The function's files; not made yet."""
        return self.root / "source"

    def link_secrets(self, secrets: Mapping[str, Path]) -> Path:
        """Makes a folder with these secrets and no others, as links: no secret is copied.

        Args:
            secrets: File of each secret by its name.

        Returns:
            The folder.
        """
        folder = self.root / "secrets"
        folder.mkdir(mode=0o700)
        for name, path in secrets.items():
            (folder / name).symlink_to(path.resolve())
        return folder


@contextlib.contextmanager
def workspace(workspaces: Path, sockets: Path) -> Iterator[Workspace]:
    """Makes a workspace and removes it at the end, with those that a killed process left.

    Args:
        workspaces: Folder for workspaces; on the store's file system, so that large files can be
            links.
        sockets: Folder for sockets, made private.

    Yields:
        The workspace.

    Raises:
        StorageError: When it cannot be made.
    """
    try:
        workspaces.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(sockets)
        _sweep(workspaces)
        root = Path(tempfile.mkdtemp(prefix="", dir=workspaces))
        guard = _hold(root)
    except OSError as error:
        kind = DiskFull if error.errno in NO_SPACE else StorageError
        raise kind(f"no workspace under {workspaces}: {error.strerror}") from error
    socket = sockets / f"{root.name}.sock"
    usable = len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT
    try:
        yield Workspace(root, f"unix:{socket}" if usable else "tcp:127.0.0.1:0")
    finally:
        shutil.rmtree(root, ignore_errors=True)
        socket.unlink(missing_ok=True)
        if guard is not None:
            os.close(guard)


def make_private(folder: Path) -> None:
    """Makes a folder where nobody else can put a socket in our place.

    Its usual parent is open to all, so another user may have been here first.

    Raises:
        StorageError: When it is another user's, or a link.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StorageError(f"{folder} is not this user's own; name another in DCF_RUNTIME_DIR")
    folder.chmod(0o700)


def _hold(root: Path) -> int | None:
    """Locks ``root`` for as long as the descriptor is open; None when another process has it."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(workspaces: Path) -> None:
    for left in workspaces.iterdir():
        guard = _hold(left)
        if guard is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(guard)
