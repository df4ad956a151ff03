"""Going on without the terminal: the command returns, and a process of its own stays."""

from __future__ import annotations

import contextlib
import os
import signal

READY = b"r"


class Detached:
    """The process that stays, until it needs its terminal no more."""

    def __init__(self, parent: int) -> None:
        """Standard error is still the terminal's.

        Args:
            parent: Descriptor on which the command that was called waits.
        """
        self._parent = parent

    def let_go(self) -> None:
        """Lets the command that was called return with success."""
        _to_nothing(2)
        with contextlib.suppress(OSError):
            os.write(self._parent, READY)
        os.close(self._parent)


def detach() -> Detached | int:
    """Splits this process in two. Nothing may have been started in it yet.

    Returns:
        In the process that stays, in a session of its own: a :class:`Detached`. In the one that
        was called: the exit code to end with, as soon as the other has let go or has ended.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return _wait(child, reading)
    os.close(reading)
    os.setsid()
    os.chdir("/")
    _to_nothing(0)
    _to_nothing(1)
    return Detached(writing)


def _wait(child: int, reading: int) -> int:
    try:
        if os.read(reading, 1) == READY:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        # Ctrl-C reaches this process alone; the other unwinds in order.
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(reading)


def _to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)
