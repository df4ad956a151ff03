"""Runs a program so that all its descendants end with it.

They also end with :meth:`ProcessTree.end` and with this process, however it ends. A guard process
between this process and the program ensures that (:mod:`dcf.supervision.tree_guard`). If the guard
itself is killed, its descendants are found by a variable in their environment.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dcf.supervision.descendants import kill_marked
from dcf.supervision.line_splitter import LineSplitter
from dcf.supervision.tree_guard import GRACE, guarded

MARK = "DCF_PROCESS_TREE"
"""Variable that all processes of one tree inherit."""

PATIENCE = GRACE + 10.0
"""Seconds for a tree to end. A process that waits for a disk cannot be killed, and is left."""

LINE_LIMIT = 64 * 1024
"""Maximum bytes of a line of output; a longer line comes in pieces."""

_POLL = 1.0
"""Seconds between two checks whether ``PATIENCE`` is over."""


class ProcessTree:
    """A program under a guard. As a context manager it ends the whole tree after the block."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: IO[str] | int,
        stdout: IO[str] | int,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start the program.

        Args:
            command: The program and its arguments.
            env: Its whole environment, except for the variable that marks the tree.
            cwd: Its working directory.
            stdin: Its standard input.
            stdout: Its standard output.
            pass_fds: Further descriptors that stay open in it and in the guard, with the same
                numbers.

        Raises:
            OSError: If no process can be started.
        """
        mark = uuid.uuid4().hex
        self._mark = f"{MARK}={mark}".encode()
        self._lock = threading.Lock()
        self._ended_at = math.inf
        reading, self._lifeline = os.pipe()
        try:
            self._guard = subprocess.Popen(
                guarded(reading, list(command)),
                env={**env, MARK: mark},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                pass_fds=(reading, *pass_fds),
                bufsize=0,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reading)

    @property
    def returncode(self) -> int:
        """The program's exit code after its end; as in shells, 128 plus the number of a signal."""
        code = self._guard.returncode
        return code if code >= 0 else 128 - code

    def lines(self, until: float = math.inf) -> Iterator[str]:
        """Yield the lines of standard error until the whole tree has ended.

        Args:
            until: When to stop waiting, on the monotonic clock.

        Raises:
            TimeoutError: After that time.
        """
        assert self._guard.stderr is not None  # noqa: S101  requested at the start
        descriptor = self._guard.stderr.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        lines = LineSplitter(LINE_LIMIT)
        while (now := time.monotonic()) < self._ended_at + PATIENCE:
            if now >= until:
                raise TimeoutError
            if not poll.poll(1000 * min(_POLL, until - now)):
                continue
            data = os.read(descriptor, 65536)
            if not data:
                break
            yield from (_text(line) for line in lines.feed(data))
        if rest := lines.rest():
            yield _text(rest)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(PATIENCE)

    def end(self) -> None:
        """Ask the tree to end; do not wait. May be called again, and from any thread."""
        with self._lock:
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1
                self._ended_at = time.monotonic()

    def __enter__(self) -> Self:
        """Return the tree."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the tree, and wait until it has ended."""
        self.end()
        try:
            self._guard.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        finally:
            if self._guard.poll() is None or self._guard.returncode < 0:
                kill_marked(self._mark, PATIENCE)
            if self._guard.stderr is not None:
                self._guard.stderr.close()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip()
