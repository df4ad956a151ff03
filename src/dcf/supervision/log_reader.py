"""Reads a process's log, from a time on or its last lines, while the process keeps writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

from dcf.model.log import LogLine
from dcf.supervision.process_log import file_of, stamp

BLOCK = 256 * 1024
"""Bytes read at a time."""

STAMP_SIZE = 24
"""Bytes of ``2026-01-31T12:00:00.123Z``."""


@dataclass(slots=True)
class _Part:
    file: BinaryIO
    size: int


class LogReader:
    """The lines that are on disk when it is opened. A later rotation does not affect it."""

    def __init__(self, folder: Path) -> None:
        """Open the files of a log, the oldest first.

        Args:
            folder: The log's folder, as for ``ProcessLog``.
        """
        self._parts: list[_Part] = []
        age = 0
        while (path := file_of(folder, age)).exists() or age == 0:
            if path.exists():
                file = path.open("rb", buffering=0)
                self._parts.insert(0, _Part(file, os.fstat(file.fileno()).st_size))
            age += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.file.close()

    def read(self, since: float = 0.0, tail: int | None = None) -> Iterator[list[LogLine]]:
        """Yield the lines in batches.

        Args:
            since: Start of the lines to read, in seconds since 1970.
            tail: Maximum number of lines: the last ones. None reads all.
        """
        first, offset = (0, 0) if tail is None else self._tail_start(tail)
        # After a power cut a torn line may begin with zero bytes, which sort before any time.
        begin = stamp(since) if since else b""
        for part in self._parts[first:]:
            for lines in _blocks(part, offset):
                yield [_parse(line) for line in lines if line[:STAMP_SIZE] >= begin]
            offset = 0

    def _tail_start(self, tail: int) -> tuple[int, int]:
        """Return the index of the file, and the offset in it, where the last lines begin."""
        missing = tail
        for index in range(len(self._parts) - 1, -1, -1):
            part = self._parts[index]
            end = part.size
            while end > 0:
                begin = max(0, end - BLOCK)
                block = os.pread(part.file.fileno(), end - begin, begin)
                place = len(block)
                while (place := block.rfind(b"\n", 0, place)) >= 0:
                    if missing == 0:
                        return index, begin + place + 1
                    missing -= 1
                end = begin
        return 0, 0


def _blocks(part: _Part, offset: int) -> Iterator[list[bytes]]:
    """Yield the complete lines of a file from ``offset`` on, in batches."""
    rest = b""
    while offset < part.size:
        block = os.pread(part.file.fileno(), min(BLOCK, part.size - offset), offset)
        if not block:
            return
        offset += len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield lines


def _parse(line: bytes) -> LogLine:
    try:
        at = datetime.fromisoformat(line[:STAMP_SIZE].decode()).timestamp()
    except ValueError:
        # A full disk or a power cut has torn the line.
        return LogLine(0.0, line.decode(errors="replace"))
    return LogLine(at, line[STAMP_SIZE + 1 :].decode(errors="replace"))
