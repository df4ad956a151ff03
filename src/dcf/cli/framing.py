"""Splits input into messages and joins replies, for ``--stream``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import click

Chunks = Iterable[bytes]

_RAW = re.compile(r"raw:0*([1-9][0-9]{0,17})")
_SOI = b"\xff\xd8"
_EOI = 0xD9
_SCAN = 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers that no length follows (ITU-T T.81, B.1.1.3)."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Matches the end of a scan: a marker that is neither a stuffed byte nor a restart."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Where one message ends and the next begins.

    Attributes:
        split: Splits chunks of input into messages.
        end: Bytes to write after each reply.
    """

    split: Callable[[Chunks], Iterator[bytes]]
    end: bytes


def framing_of(text: str) -> Framing:
    """Parse ``--frames``.

    Raises:
        click.BadParameter: If the value is unknown.
    """
    number = _RAW.fullmatch(text)
    if text == "lines":
        return Framing(lines, b"\n")
    if text == "jpg":
        return Framing(jpegs, b"")
    if number is not None:
        return Framing(partial(pieces, size=int(number[1])), b"")
    message = f"expected lines, jpg or raw:N with N bytes, got {text!r}"
    raise click.BadParameter(message, param_hint="--frames")


def lines(chunks: Chunks) -> Iterator[bytes]:
    """Yield each line without its end as soon as it has arrived. The last line may have no end."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def pieces(chunks: Chunks, size: int) -> Iterator[bytes]:
    """Yield pieces of ``size`` bytes. The last piece may be shorter."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= size:
            yield bytes(rest[:size])
            del rest[:size]
    if rest:
        yield bytes(rest)


def jpegs(chunks: Chunks) -> Iterator[bytes]:
    """Yield JPEG pictures, as ``ffmpeg -f mjpeg`` writes them. Bytes between pictures are skipped.

    Raises:
        click.BadParameter: If the input has no picture, or ends within a picture.
    """
    rest = bytearray()
    walk = _Walk()
    has_picture = False
    for chunk in chunks:
        rest += chunk
        while (end := walk.end_in(rest)) is not None:
            yield bytes(rest[:end])
            del rest[:end]
            walk = _Walk()
            has_picture = True
    if walk.begun or not has_picture:
        what = "ends within a JPEG picture" if walk.begun else "has no JPEG picture"
        raise click.BadParameter(f"the input {what}", param_hint="--frames")


class _Walk:
    """Walks through the markers of one picture, which may contain thumbnails."""

    def __init__(self) -> None:
        self.begun = False
        self._at = 0
        self._in_scan = False

    def end_in(self, data: bytearray) -> int | None:
        """Return where the picture ends, or None if more data is needed.

        Bytes before the picture are removed from ``data``.
        """
        if not self.begun and not self._begin(data):
            return None
        while True:
            if self._in_scan and not self._leave_scan(data):
                return None
            head = data[self._at : self._at + 4]
            if len(head) < 4 and not head.startswith(b"\xff\xd9"):  # noqa: PLR2004  marker and length
                return None
            if head[0] != 0xFF or head[1] == 0:  # noqa: PLR2004  not a marker: the picture is corrupt
                self._in_scan = True
            elif head[1] == 0xFF:  # noqa: PLR2004  a fill byte
                self._at += 1
            elif head[1] == _EOI:
                return self._at + 2
            elif head[1] in _ALONE:
                self._at += 2
            else:
                self._in_scan = head[1] == _SCAN
                self._at += 2 + int.from_bytes(head[2:4])

    def _begin(self, data: bytearray) -> bool:
        place = data.find(_SOI)
        # The last byte may be the first half of the start marker.
        del data[: place if place >= 0 else max(0, len(data) - 1)]
        self.begun = place >= 0
        self._at = len(_SOI)
        return self.begun

    def _leave_scan(self, data: bytearray) -> bool:
        marker = _AFTER_SCAN.search(data, self._at)
        if marker is None:
            self._at = max(self._at, len(data) - 1)
            return False
        self._at = marker.start()
        self._in_scan = False
        return True
