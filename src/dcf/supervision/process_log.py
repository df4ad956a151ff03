"""Writes a process's log to disk: its output lines with their times, in rotated files.

A line is stored as ``2026-01-31T12:00:00.123Z text``. The newest lines are in ``current.log``, the
older ones in ``1.log``, ``2.log`` and so on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from dcf.model.log import LogLine
from dcf.supervision.broadcast import Broadcast
from dcf.supervision.line_splitter import LineSplitter
from dcf.supervision.process_messages import LogBound
from dcf.supervision.protocol import log_line

logger = logging.getLogger("dcf.supervision")

LINE_LIMIT = 16 * 1024
"""Maximum bytes of a stored line. A longer line is split into pieces of this size."""


LAST_TIME = 253402300799.0
"""The last second of the year 9999, in seconds since 1970: the latest time that can be stored."""


def stamp(at: float) -> bytes:
    """Return a time (seconds since 1970) as it is stored. Stamps sort in the order of time."""
    text = datetime.fromtimestamp(min(at, LAST_TIME), UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()


def file_of(folder: Path, age: int) -> Path:
    """Return the file that is ``age`` rotations old."""
    return folder / (f"{age}.log" if age else "current.log")


class ProcessLog:
    """Writes one process's log.

    Attributes:
        folder: The folder of its files.
        followers: Readers of new lines, which receive them as lines of a reply.
    """

    def __init__(self, folder: Path, bound: LogBound) -> None:
        """Open the log and append to existing files.

        If the disk is full, the log is opened as soon as there is space. Until then its lines are
        lost, but the process runs.

        Args:
            folder: The folder for this log alone; it is created if it is missing.
            bound: How much of the log to keep.
        """
        self.folder = folder
        self.followers = Broadcast()
        self._bound = bound
        self._lines = LineSplitter(LINE_LIMIT)
        self._is_failing = False
        self._file: BinaryIO | None = None
        self._size = 0
        self._write([])

    def feed(self, data: bytes) -> None:
        """Store output of the process. It never raises: a full disk must not stop a process."""
        self._store(self._lines.feed(data))

    def end_of_run(self) -> None:
        """Store a last line that has no line end."""
        if rest := self._lines.rest():
            self._store([rest])

    def close(self) -> None:
        """Close the file, and end the streams of all followers."""
        self.followers.end()
        if self._file is not None:
            self._file.close()

    def _store(self, lines: list[bytes]) -> None:
        if not lines:
            return
        now = time.time()
        prefix = stamp(now) + b" "
        ready: list[bytes] = []
        for line in lines:
            if self._size and self._size + len(prefix) + len(line) + 1 > self._bound.file_bytes:
                self._write(ready)
                self._rotate()
                ready = []
            ready.append(prefix + line.rstrip(b"\r") + b"\n")
            self._size += len(ready[-1])
        self._write(ready)
        if self.followers.has_readers:
            for line in lines:
                text = line.rstrip(b"\r").decode(errors="replace")
                self.followers.publish(log_line(LogLine(now, text)))

    def _write(self, lines: list[bytes]) -> None:
        try:
            file = self._file
            if file is None:
                file, size = self._open()
                self._file = file
                self._size += size
            file.write(b"".join(lines))
        except OSError as error:
            if not self._is_failing:
                logger.warning("log lines of %s are lost: %s", self.folder.name, error.strerror)
            self._is_failing = True
        else:
            self._is_failing = False

    def _open(self) -> tuple[BinaryIO, int]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = file_of(self.folder, 0)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "ab", buffering=0)
        return file, file.tell()

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._size = 0
        with contextlib.suppress(OSError):
            if self._bound.files == 1:
                file_of(self.folder, 0).unlink()
                return
            for age in range(self._bound.files - 1, 0, -1):
                newer = file_of(self.folder, age - 1)
                if newer.exists():
                    newer.replace(file_of(self.folder, age))
