"""``python -m dcf.watcher``: the composition root of a replica's process.

Settings are ``DCF_`` variables (``dcf.settings.WatcherSettings``). Standard output carries reports
(``dcf.protocol.report``); everything that the handler prints goes to standard error, the log.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TextIO, cast

import uvloop

from dcf.errors import AddressInUse, ConfigError
from dcf.protocol.exits import WatcherExit
from dcf.settings import WatcherSettings
from dcf.telemetry import log
from dcf.watcher.host import Host
from dcf.watcher.lanes import HANDLER_THREAD
from dcf.watcher.life import Life
from dcf.watcher.server import listen

PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal that this process gets when its parent dies."""


def main() -> int:
    """Runs one replica.

    Returns:
        A ``WatcherExit``.
    """
    channel = _take_standard_output()
    # Of a crash in C, the thread that crashed is the one worth reading.
    faulthandler.enable(all_threads=False)
    try:
        settings = WatcherSettings.from_mapping(os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return WatcherExit.SETTINGS
    log.configure(settings.log_level)
    if settings.lifeline:
        _end_with_parent()
    _close_standard_input()
    life = Life(channel)
    try:
        listener = listen(settings.listen)
    except AddressInUse as error:
        life.failed(error)
        return WatcherExit.ADDRESS
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(Host(settings, life).run(listener))
    if settings.listen.startswith("unix:"):
        Path(settings.listen.removeprefix("unix:")).unlink(missing_ok=True)
    if any(thread.name.startswith(HANDLER_THREAD) for thread in threading.enumerate()):
        # A handler that does not end keeps nobody waiting.
        sys.stderr.flush()
        os._exit(code)
    return code


def _take_standard_output() -> int:
    """Keeps the way to the parent for reports, and sends what is printed to the log.

    On the level of file descriptors, because libraries in C print as well.

    Returns:
        File descriptor for the reports.
    """
    channel = os.dup(1)
    os.dup2(2, 1)
    cast("TextIO", sys.stdout).reconfigure(line_buffering=True)  # type: ignore[attr-defined]
    return channel


def _end_with_parent() -> None:
    """Ends this process and its group when the parent is gone.

    The parent holds the other end of standard input. On Linux the kernel is asked as well, because
    a handler that never releases the interpreter's lock would keep this thread from running.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    lifeline = os.dup(0)

    def wait_for_the_end() -> None:
        while os.read(lifeline, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait_for_the_end, name="lifeline", daemon=True).start()


def _close_standard_input() -> None:
    """A handler that reads standard input finds its end instead of waiting for ever."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
