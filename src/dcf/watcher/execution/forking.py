"""Resets the processes that a handler forks, so that they share nothing with the watcher.

A fork copies the watcher's signal handlers, wake-up descriptor, sockets and report channel. A child
that kept them would drain the replica on its own SIGTERM, and would keep every connection open that
the replica closes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Signals that drain the replica."""

_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"

_children: list[int] = []
"""The id of this process, if it was forked by the handler."""


def reset_in_children(listener: socket.socket, channel: int) -> None:
    """Make every child that is forked from now on start without the replica's resources.

    Args:
        listener: The listening socket.
        channel: File descriptor for the reports.
    """
    original = {number: signal.getsignal(number) for number in SIGNALS}
    address = listener.getsockname()
    masks: dict[int, set[int]] = {}

    def block() -> None:
        # A signal that arrives before the child is reset must wait, and must not be lost.
        masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(threading.get_ident()))

    def reset() -> None:
        # In a child of a child, these numbers may belong to other files.
        if not _children:
            _children.append(os.getpid())
            signal.set_wakeup_fd(-1)
            for number, handler in original.items():
                if isinstance(signal.getsignal(number), DrainHandler):
                    signal.signal(number, handler)
            _close_sockets_of(address)
            with contextlib.suppress(OSError):
                os.close(channel)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset)


class DrainHandler:
    """The watcher's signal handler. Its type distinguishes it from the author's own handlers."""

    def __init__(self, drain: Callable[[], object]) -> None:
        """Create a handler that calls ``drain`` at each signal."""
        self._drain = drain

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self._drain()


def leave_children(error: BaseException | None = None) -> None:
    """End this process if the handler forked it; do nothing in the replica itself.

    A child that returns from the handler must not continue as a second watcher that takes the
    replica's calls. It exits like a program that has reached its last line.

    Args:
        error: The exception that left the handler, if any.
    """
    if _children:
        _end(error)


def _end(error: BaseException | None) -> NoReturn:
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code or 0
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    if not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    # os._exit alone would skip these, and a return would unwind the watcher's own frames.
    atexit._run_exitfuncs()  # noqa: SLF001  it has no public name
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def _close_sockets_of(address: object) -> None:
    """Close the listening socket at ``address`` and every connection it accepted."""
    place = _place(address)
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208  a path object for each would cost more
        descriptor = int(name)
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            connection = socket.socket(fileno=descriptor)
            try:
                is_ours = _place(connection.getsockname()) == place
            finally:
                connection.detach()
            if is_ours:
                os.close(descriptor)


def _place(address: object) -> object:
    """Return what all sockets of one listener share: a path or the port."""
    return address[1] if isinstance(address, tuple) else address
