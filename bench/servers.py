"""Starts and stops the compared servers, each as a separate process group."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.figures import BenchFailed
from bench.load import BINARY

from dcf.engines.local.watcher_process import replica_environment
from dcf.settings import WatcherSettings

APPS = Path(__file__).parent / "apps"
ECHOED = b"0123456789abcdef" * 4
"""64 bytes."""

START = 60.0
"""Seconds for a server to answer."""
GRACE = 5.0
"""Seconds for a server to stop before it is killed."""


class ServerFailed(BenchFailed):
    """A server did not start."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers.

    Attributes:
        url: Its URL.
        pid: The process that was started; it may have children.
    """

    url: str
    pid: int

    def rss(self) -> float:
        """Return the mebibytes of the process and its descendants."""
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True
        )
        rows = [tuple(int(text) for text in line.split()) for line in listing.stdout.splitlines()]
        family = {self.pid}
        while more := {pid for pid, parent, _ in rows if parent in family} - family:
            family |= more
        return sum(rss for pid, _, rss in rows if pid in family) / 1024


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    url: str,
    *,
    environment: Mapping[str, str] | None = None,
    probe: bytes = ECHOED,
    content_type: str = BINARY,
    folder: Path | None = None,
) -> Iterator[Server]:
    """Run a server; enter the block once it answers ``probe``.

    Raises:
        ServerFailed: If it ends or does not answer; the message has its output.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        started(command, log, environment=environment, folder=folder) as process,
    ):
        _wait(process, url, probe, content_type, log)
        yield Server(url, process.pid)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    log: IO[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it with its children; its output goes to ``log``."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def echo(python: Path | str, kind: str) -> contextlib.AbstractContextManager[Server]:
    """Run a bare echo of ``apps/serve.py`` with ``python``."""
    port = free_port()
    command = [python, APPS / "serve.py", kind, str(port)]
    return running(command, f"http://127.0.0.1:{port}/")


def watcher(
    *, python: Path | str = sys.executable, starter: Sequence[str | Path] = ("-m", "dcf.watcher"),
    root: Path = APPS, handler_dir: str = ".", probe: bytes = ECHOED,
) -> contextlib.AbstractContextManager[Server]:  # fmt: skip
    """Run a watcher with its default settings that serves the handler in ``root``."""
    port = free_port()
    settings = WatcherSettings(
        root=str(root), handler_dir=handler_dir, listen=f"tcp:127.0.0.1:{port}"
    )
    return running(
        [python, *starter],
        f"http://127.0.0.1:{port}/",
        environment=replica_environment(settings, {}, {}, os.environ),
        probe=probe,
        folder=root,
    )


def _wait(
    process: subprocess.Popen[bytes], url: str, probe: bytes, content_type: str, log: IO[str]
) -> None:
    request = urllib.request.Request(url, probe, {"Content-Type": content_type})
    until = time.monotonic() + START
    reason = ""
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                reply.read()
        except OSError as error:
            reason = str(error)
        else:
            return
        time.sleep(0.05)
    log.seek(0)
    raise ServerFailed(f"{process.args!r} gave no good answer: {reason}\n{log.read()[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    # Its remaining children.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
