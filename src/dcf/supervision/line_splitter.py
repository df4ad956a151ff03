"""Splits a stream of bytes into lines, with a limit on memory."""

from __future__ import annotations


class LineSplitter:
    """Splits a stream of bytes into lines. A longer line comes in pieces of the maximum size."""

    def __init__(self, limit: int) -> None:
        """Create an empty splitter.

        Args:
            limit: Maximum bytes of a line, without its line end.
        """
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Accept data; return the lines that it completes, without their line ends."""
        *complete, rest = data.split(b"\n")
        lines: list[bytes] = []
        for piece in complete:
            self._keep(piece, lines)
            lines.append(self.rest())
        self._keep(rest, lines)
        return lines

    def rest(self) -> bytes:
        """Return and clear the beginning of an incomplete line; b"" if there is none."""
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
