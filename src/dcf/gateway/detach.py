"""Detach from the terminal: the command returns, and a background process continues."""

from __future__ import annotations

import contextlib
import os
import signal

READY = b"r"


class Detached:
    """The background process. Until :meth:`release` its standard error is the terminal."""

    def __init__(self, parent: int) -> None:
        """Create this in the background process.

        Args:
            parent: Writing end of the pipe on which the command waits.
        """
        self._parent = parent

    def release(self) -> None:
        """Let the command return successfully."""
        _redirect_to_null(2)
        with contextlib.suppress(OSError):
            os.write(self._parent, READY)
        os.close(self._parent)


def detach() -> Detached | int:
    """Fork a background process. No thread or event loop may run yet.

    Returns:
        In the background process, which has its own session, a :class:`Detached`. In the command,
        its exit code, once the background process has called :meth:`Detached.release` or has ended.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return _wait(child, reading)
    os.close(reading)
    os.setsid()
    os.chdir("/")
    _redirect_to_null(0)
    _redirect_to_null(1)
    return Detached(writing)


def _wait(child: int, reading: int) -> int:
    try:
        if os.read(reading, 1) == READY:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        # Ctrl-C reaches only this process. SIGTERM lets the other one clean up.
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(reading)


def _redirect_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)
