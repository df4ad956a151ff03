"""Splits the body of a request into the messages of a stream, while it arrives."""

from __future__ import annotations

from dcf.errors import BodyTooLarge


class ChunkDecoder:
    """A message for each part that arrives. HTTP preserves no boundaries."""

    def take(self, data: bytes) -> list[bytes]:
        """Return the messages in ``data``."""
        return [data] if data else []

    def rest(self) -> list[bytes]:
        """Return the messages that are left at the end of the body."""
        return []


class LineDecoder:
    """A message for each line that is not empty."""

    def __init__(self, longest: int) -> None:
        """Create a decoder.

        Args:
            longest: Maximum length of a line in bytes.
        """
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes.

        Raises:
            BodyTooLarge: If a line is too long.
        """
        *whole, incomplete = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._parts, whole[0]))
            self._parts, self._size = [], 0
        self._parts.append(incomplete)
        self._size += len(incomplete)
        if self._size > self._longest or any(len(line) > self._longest for line in whole):
            raise BodyTooLarge(self._longest)
        return [line for line in map(_stripped, whole) if line]

    def rest(self) -> list[bytes]:
        """Return the last line, if it has no line feed."""
        line = _stripped(b"".join(self._parts))
        return [line] if line else []


def _stripped(line: bytes) -> bytes:
    return line.strip(b" \t\r")
