"""Bytes as they come, lines as they were meant, and never more than a bound in memory."""

from __future__ import annotations


class LineSplitter:
    """Cuts a stream of bytes into lines. A line over the limit comes in pieces of that size."""

    def __init__(self, limit: int) -> None:
        """Starts empty.

        Args:
            limit: Bytes of a line, its end not counted.
        """
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Takes what came; returns the lines that it completes, without their ends."""
        *complete, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in complete:
            self._keep(piece, lines)
            lines.append(self.rest())
        self._keep(rest, lines)
        return lines

    def rest(self) -> bytes:
        """What has come of a line without an end, which is forgotten; b"" when nothing has."""
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    def _keep(self, piece: bytes, lines: list[bytes]) -> None:
        while self._size + len(piece) > self._limit:
            taken = self._limit - self._size
            self._parts.append(piece[:taken])
            lines.append(self.rest())
            piece = piece[taken:]
        if piece:
            self._parts.append(piece)
            self._size += len(piece)
