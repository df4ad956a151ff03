"""One child process: started in a group of its own, observed, stopped for certain."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcf.supervision.exit_text import Exit

LINE_LIMIT = 256 * 1024
"""Maximum bytes of a line of standard output, which carries reports."""


class Child:
    """A process, its lifeline and its report channel.

    The child's standard input is a pipe that this process holds and never writes to: when this
    process is gone, however it went, the child reads the end. Its standard output is a pipe read
    by :meth:`read_line`. Its standard error is this process's own, or a file descriptor given.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Starts the process.

        Args:
            command: Program and arguments.
            env: The whole environment.
            cwd: Working directory.
            log: File descriptor for standard error; None shares this process's own.
            pass_fds: Further descriptors that stay open in the child, under the same numbers.

        Raises:
            OSError: When the program cannot be started.
        """
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            bufsize=0,
        )
        self._unread = b""

    @property
    def pid(self) -> int:
        """The process id, also the id of the process group."""
        return self._process.pid

    def poll(self) -> Exit | None:
        """How the process ended, or None while it runs."""
        code = self._process.poll()
        return None if code is None else Exit(code)

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Waits for the end, at most ``timeout`` seconds; None when it still runs then."""
        try:
            return Exit(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def read_line(self, timeout: float) -> bytes | None:
        """The next line of standard output.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            The line with its end, or the first :data:`LINE_LIMIT` bytes of a longer line; b"" at
            the end of the output; None after the timeout.
        """
        stdout = self._process.stdout
        assert stdout is not None
        until = time.monotonic() + timeout
        while b"\n" not in self._unread:
            if len(self._unread) >= LINE_LIMIT:
                piece, self._unread = self._unread[:LINE_LIMIT], self._unread[LINE_LIMIT:]
                return piece
            readable, _, _ = select.select([stdout], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                return None
            data = os.read(stdout.fileno(), 65536)
            if not data:
                rest, self._unread = self._unread, b""
                return rest
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line + b"\n"

    def terminate(self) -> None:
        """Asks the process to end (SIGTERM) and does not wait."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self, grace: float) -> Exit:
        """Ends the process: asks, waits ``grace`` seconds, then kills it and all its children.

        Safe to call again, and after the process has ended by itself.
        """
        self.terminate()
        try:
            ended = self.wait(grace)
        finally:
            # The group outlives its leader while the leader has children left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        ended = ended or Exit(self._process.wait())
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return ended
