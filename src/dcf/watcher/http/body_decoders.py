"""The body of a request as the messages of a stream, while it is still coming."""

from __future__ import annotations

from dcf.errors import BodyTooLarge


class ChunkDecoder:
    """The bytes as they come: HTTP keeps no boundaries."""

    def take(self, data: bytes) -> list[bytes]:
        """What ``data`` brings."""
        return [data] if data else []

    def rest(self) -> list[bytes]:
        """What is left at the end."""
        return []


class LineDecoder:
    """A message for each line; empty ones are none."""

    def __init__(self, longest: int) -> None:
        """A body of lines.

        Args:
            longest: Bytes of the longest line.
        """
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes.

        Raises:
            BodyTooLarge: When a line is too long.
        """
        *whole, begun = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._parts, whole[0]))
            self._parts, self._size = [], 0
        self._parts.append(begun)
        self._size += len(begun)
        if self._size > self._longest or any(len(line) > self._longest for line in whole):
            raise BodyTooLarge(self._longest)
        return [line for line in map(_stripped, whole) if line]

    def rest(self) -> list[bytes]:
        """A last line without a line feed."""
        line = _stripped(b"".join(self._parts))
        return [line] if line else []


def _stripped(line: bytes) -> bytes:
    return line.strip(b" \t\r")
