"""Starts, observes and stops a child process in its own process group."""

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

    The child's standard input is a pipe that this process holds open and never writes to. When this
    process ends for any reason, the child reads the end of the pipe. The child's standard output is
    a pipe, which :meth:`read_line` reads. Its standard error is this process's own, or ``log``.
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
        """Start the process.

        Args:
            command: Program and arguments.
            env: The complete environment.
            cwd: Working directory.
            log: File descriptor for standard error; None shares this process's own.
            pass_fds: Further descriptors that stay open in the child, with the same numbers.

        Raises:
            OSError: If the program cannot be started.
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
        """Return how the process ended; None while it runs."""
        code = self._process.poll()
        return None if code is None else Exit(code)

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Wait for the end of the process; return None if it still runs after ``timeout`` s."""
        try:
            return Exit(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def read_line(self, timeout: float) -> bytes | None:
        """Read the next line of standard output.

        Args:
            timeout: Maximum seconds to wait.

        Returns:
            The line with its line end, or the first :data:`LINE_LIMIT` bytes of a longer line; b""
            at the end of the output; None after the timeout.
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
        """Send SIGTERM, without waiting."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self, grace: float) -> Exit:
        """Stop the process: send SIGTERM, wait ``grace`` seconds, then kill the whole group.

        May be called again, and after the process has ended by itself.
        """
        self.terminate()
        try:
            ended = self.wait(grace)
        finally:
            # While children of the leader live, the group outlives the leader.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        ended = ended or Exit(self._process.wait())
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return ended
