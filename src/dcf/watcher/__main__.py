"""``python -m dcf.watcher``: the composition root of a replica's process.

Settings are ``DCF_`` variables (``dcf.settings.WatcherSettings``). Standard output carries reports
(``dcf.protocol.report``); everything that the handler prints goes to standard error, the log.

The order matters. The author's code must not run before the limits hold, and the author's modules
must not be importable before the watcher has imported its own. So this module imports only what it
needs to set the limits.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import select
import signal
import sys
import threading
from typing import TextIO, cast

from dcf.errors import ConfigError, ConfinementFailed, HandlerImportFailed, StartError
from dcf.protocol.exits import WatcherExit
from dcf.protocol.signals import LOG_STACKS
from dcf.settings import WatcherSettings
from dcf.telemetry import logging_setup
from dcf.watcher import interpreter
from dcf.watcher.confinement import confine, require_room
from dcf.watcher.lifecycle import Lifecycle
from dcf.watcher.tracebacks import author_traceback, summary

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes in Python gives the interpreter to another thread. A
tenth of Python's default of 0.005, so that the server can read and write while the handler
computes. With the default, a message that a busy generator yields leaves after 5 ms, and large
requests wait."""


def main() -> int:
    """Run one replica.

    Returns:
        A ``WatcherExit``.
    """
    try:
        settings = WatcherSettings.from_mapping(os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return WatcherExit.SETTINGS
    unconfined: ConfinementFailed | None = None
    try:
        confine(settings)
        interpreter.begin_again(settings)
    except ConfinementFailed as error:
        unconfined = error
    life = Lifecycle(_take_standard_output())
    # After a crash in C, only the stack of the crashed thread is useful.
    faulthandler.enable(all_threads=False)
    if LOG_STACKS is not None:
        faulthandler.register(LOG_STACKS, all_threads=True)
    logging_setup.configure(settings.log_level)
    if settings.lifeline:
        _end_with_parent()
    _close_standard_input()
    life.begin()
    try:
        if unconfined is not None:
            raise unconfined
        from dcf.watcher import serving  # noqa: PLC0415  its imports must run within the limits

        require_room(settings)
    except ConfinementFailed as error:
        life.failed(error)
        return WatcherExit.CONFINEMENT
    except StartError as error:
        life.failed(error)
        return WatcherExit.HANDLER
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        interpreter.open_to_author(settings.late_variables)
    except BaseException as error:  # noqa: BLE001  sitecustomize may call sys.exit
        message = f"Python's site module failed: {summary(error)}"
        life.failed(HandlerImportFailed(message, author_traceback(error)))
        return WatcherExit.HANDLER
    return serving.serve(settings, life)


def _take_standard_output() -> int:
    """Reserve standard output for reports, and redirect all printed text to the log.

    Redirect the file descriptors, because libraries in C print as well.

    Returns:
        File descriptor for the reports.
    """
    channel = os.dup(1)
    os.dup2(2, 1)
    cast("TextIO", sys.stdout).reconfigure(line_buffering=True)  # type: ignore[attr-defined]
    return channel


def _end_with_parent() -> None:
    """End this process and its children when the parent has ended for any reason.

    The parent holds the other end of standard input and never writes to it. On Linux, the kernel
    kills the process group at the end of that pipe: a thread of the watcher could not do so while a
    handler computes in C without releasing the interpreter's lock. On systems without this
    feature, a thread does it.
    """
    lifeline = os.dup(0)
    group = os.getpgrp()
    # Started by hand, this process is in the group of a shell. Do not kill the shell.
    target = -group if group == os.getpid() else os.getpid()
    if _killed_at_end_of(lifeline, target):
        if select.select([lifeline], [], [], 0)[0]:
            # The parent ended before the kernel was set up.
            os.kill(target, signal.SIGKILL)
        return

    def wait_for_the_end() -> None:
        while os.read(lifeline, 1024):
            pass
        os.kill(target, signal.SIGKILL)

    threading.Thread(target=wait_for_the_end, name="lifeline", daemon=True).start()


def _killed_at_end_of(pipe: int, target: int) -> bool:
    """Make the kernel kill ``target`` at the end of ``pipe`` (``fcntl(2)``: O_ASYNC, F_SETSIG).

    Returns:
        Whether the kernel will do so. Some sandboxes support neither flag.
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(pipe, fcntl.F_SETOWN, target)
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_ASYNC)
    except OSError:
        return False
    return True


def _close_standard_input() -> None:
    """Give the handler an empty standard input, so that reading it does not wait forever."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
