"""Connects the listening socket and the host, and decides how the process ends."""

from __future__ import annotations

import sys
from pathlib import Path

from dcf.errors import AddressInUse
from dcf.model.endpoint import unix_path
from dcf.protocol.exits import WatcherExit
from dcf.settings import WatcherSettings
from dcf.watcher.compat import OldNameFinder
from dcf.watcher.execution.forking import reset_in_children
from dcf.watcher.host import Host
from dcf.watcher.http.server import listen
from dcf.watcher.lifecycle import Lifecycle


def serve(settings: WatcherSettings, life: Lifecycle) -> WatcherExit:
    """Serve until the replica is asked to end.

    Args:
        settings: What to serve, and where.
        life: The replica's state.

    Returns:
        The process's exit code.
    """
    sys.meta_path.append(OldNameFinder())
    try:
        listener = listen(settings.listen)
    except AddressInUse as error:
        life.failed(error)
        return WatcherExit.ADDRESS
    reset_in_children(listener, life.channel)
    code = Host(settings, life).run(listener)
    if socket := unix_path(settings.listen):
        Path(socket).unlink(missing_ok=True)
    return code
