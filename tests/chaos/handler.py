"""The handler of every function in chaos. The first line of its input says what to do.

The line is ``CALL WORD NUMBER``: the call's id, an order, and a number for it. The reply is the
version of the function and the rest of the input. The handler records each call that begins, with
its process, in the file that ``BEGUN`` names.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

VERSION = os.environ.get("VERSION", "").encode()
BEGUN = os.environ.get("BEGUN", os.devnull)

REPORTS = (
    b"[" * 10_000 + b"\n",
    b'{"state": "failed", "error": {"a": 1}, "detail": 5}\n',
    b'{"state": "ready", "endpoint": 5}\n',
    b'{"state": "ready", "endpoint": "tcp:127.0.0.1:1"}\n',
    b'{"state": "exited", "detail": 1e999}\n',
    b'{"state": "starting"}\n',
    b'{"state": "\\ud800"}\n',
    b"\xff\x00\n",
    b"\n" * 100,
    b'{"state": "ready"}' * 100 + b"\n",
    b"no end",
)
"""Lines that are not reports, or that a watcher would not write at that time."""

DESCRIPTORS = range(32)


def begin(call: str) -> None:
    """Record that a call has begun, in a single write, so that records do not mix."""
    file = os.open(BEGUN, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, f"{call} {os.getpid()}\n".encode())
    finally:
        os.close(file)


class Handler:
    """Echoes, with side effects."""

    def __call__(self, req: Any) -> Any:
        """Do what the first line says, then reply."""
        order, _, rest = req.input.partition(b"\n")
        call, word, number = order.decode().split(" ")
        begin(call)
        DEEDS.get(word, nothing)(number)
        reply = VERSION + b"\n" + rest
        if word == "big":
            return reply + bytes(int(number))
        if word == "chunks":
            return self.chunks(reply, int(number))
        return reply

    def chunks(self, reply: bytes, number: int) -> Iterator[bytes]:
        """Yield the reply in a number of parts, with pauses."""
        size = len(reply) // number + 1
        for start in range(0, len(reply), size):
            time.sleep(0.02)
            yield reply[start : start + size]


def nothing(_: str) -> None:
    """Only reply."""


def sleep(seconds: str) -> None:
    """Sleep for a while."""
    time.sleep(float(seconds))


def block(seconds: str) -> None:
    """Sleep for a while, and let no other thread of the process run meanwhile."""
    ctypes.PyDLL(None).usleep(int(float(seconds) * 1e6))


def leave(code: str) -> None:
    """End the process at once."""
    os._exit(int(code))


def pool(processes: str) -> None:
    """Let forked processes work, and end them."""
    with multiprocessing.get_context("fork").Pool(int(processes)) as workers:
        assert workers.map(abs, range(-9, 0)) == list(range(9, 0, -1))


def terminate(_: str) -> None:
    """End a forked process by a signal."""
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(10)
    assert process.exitcode == -15, process.exitcode


def command(_: str) -> None:
    """Run a program."""
    done = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    assert done.stdout == b"42\n"


def stray(seconds: str) -> None:
    """Start a process in a session of its own, and leave it running."""
    subprocess.Popen(["sleep", seconds], start_new_session=True)


def report(number: str) -> None:
    """Write something that is not a report to every pipe of the process."""
    for descriptor in DESCRIPTORS:
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, REPORTS[int(number)])
        except OSError:
            continue


DEEDS = {
    "sleep": sleep,
    "hang": sleep,
    "block": block,
    "exit": leave,
    "pool": pool,
    "terminate": terminate,
    "command": command,
    "stray": stray,
    "report": report,
}
