"""What a child process that the handler forks must not share with its replica.

A fork copies the watcher: its signal handlers, the descriptor that wakes its server at a signal,
its sockets and the way to its parent. A child that kept them would drain the replica at its own
SIGTERM, and would hold open every connection that the replica closes.
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
"""What asks the replica to end."""

_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"

_children: list[int] = []
"""The id of this process, if it was forked by the handler."""


def reset_in_children(listener: socket.socket, channel: int) -> None:
    """From now on, children that are forked start without what is the replica's.

    Args:
        listener: Where calls come in.
        channel: File descriptor for the reports.
    """
    original = {number: signal.getsignal(number) for number in SIGNALS}
    address = listener.getsockname()
    masks: dict[int, set[int]] = {}

    def block() -> None:
        # A child may be told to end before it is reset; that must wait, and must not be lost.
        masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(threading.get_ident()))

    def reset() -> None:
        # The numbers may belong to other files in a child of a child.
        if not _children:
            _children.append(os.getpid())
            signal.set_wakeup_fd(-1)
            for number, handler in original.items():
                if isinstance(signal.getsignal(number), EndAsked):
                    signal.signal(number, handler)
            _close_sockets_of(address)
            with contextlib.suppress(OSError):
                os.close(channel)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset)


class EndAsked:
    """The watcher's signal handler. Its kind tells it from one that the author has set."""

    def __init__(self, drain: Callable[[], object]) -> None:
        """Calls ``drain`` at each signal."""
        self._drain = drain

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """A signal came."""
        self._drain()


def leave_children(error: BaseException | None = None) -> None:
    """Ends this process if the handler forked it; nothing happens in the replica itself.

    A child that comes back out of the handler must not go on as a second watcher that takes the
    replica's calls. It ends as a program ends that has come to its last line.

    Args:
        error: What it came back with.
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
    # os._exit alone runs none of these, and a return would unwind the replica's own frames.
    atexit._run_exitfuncs()  # noqa: SLF001  there is no public name for it
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def _close_sockets_of(address: object) -> None:
    """Closes the listening socket at ``address`` and every connection that came through it."""
    place = _place(address)
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208  a path object for each would cost more
        descriptor = int(name)
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            found = socket.socket(fileno=descriptor)
            try:
                is_ours = _place(found.getsockname()) == place
            finally:
                found.detach()
            if is_ours:
                os.close(descriptor)


def _place(address: object) -> object:
    """What all sockets of one listener have in common: a path, or the port."""
    return address[1] if isinstance(address, tuple) else address
