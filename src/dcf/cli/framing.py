"""How a run of bytes becomes messages, and replies become bytes again, for ``--stream``."""

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
"""Markers of JPEG without a length behind them (ITU-T T.81, B.1.1.3)."""
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a picture's data: a marker, neither a stuffed byte nor a restart."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Where one message ends and the next begins.

    Attributes:
        split: The messages in what comes.
        end: What is written behind each reply.
    """

    split: Callable[[Chunks], Iterator[bytes]]
    end: bytes


def framing_of(text: str) -> Framing:
    """What ``--frames`` says.

    Raises:
        click.BadParameter: When it says something else.
    """
    number = _RAW.fullmatch(text)
    if text == "lines":
        return Framing(lines, b"\n")
    if text == "jpg":
        return Framing(jpegs, b"")
    if number is not None:
        return Framing(partial(pieces, size=int(number[1])), b"")
    message = f"{text!r} is not lines, jpg or raw:N with N bytes"
    raise click.BadParameter(message, param_hint="--frames")


def lines(chunks: Chunks) -> Iterator[bytes]:
    """The lines without their ends, each as soon as it is there; the last one may lack its end."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def pieces(chunks: Chunks, size: int) -> Iterator[bytes]:
    """Pieces of ``size`` bytes; the last one may be shorter."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= size:
            yield bytes(rest[:size])
            del rest[:size]
    if rest:
        yield bytes(rest)


def jpegs(chunks: Chunks) -> Iterator[bytes]:
    """The JPEG pictures, as ``ffmpeg -f mjpeg`` writes them; what lies between them is left out.

    Raises:
        click.BadParameter: When there is none, or the last one is not whole.
    """
    rest = bytearray()
    walk = _Walk()
    found = False
    for chunk in chunks:
        rest += chunk
        while (end := walk.end_in(rest)) is not None:
            yield bytes(rest[:end])
            del rest[:end]
            walk = _Walk()
            found = True
    if walk.begun or not found:
        what = "ends in the middle of a picture" if walk.begun else "has no JPEG picture"
        raise click.BadParameter(f"the input {what}", param_hint="--frames")


class _Walk:
    """Goes from marker to marker of one picture, over the thumbnails that it may have inside."""

    def __init__(self) -> None:
        self.begun = False
        self._at = 0
        self._in_scan = False

    def end_in(self, data: bytearray) -> int | None:
        """Where the picture ends; None when more is needed. It begins with ``data`` then."""
        if not self.begun and not self._begin(data):
            return None
        while True:
            if self._in_scan and not self._leave_scan(data):
                return None
            head = data[self._at : self._at + 4]
            if len(head) < 4 and not head.startswith(b"\xff\xd9"):  # noqa: PLR2004  marker and length
                return None
            if head[0] != 0xFF or head[1] == 0:  # noqa: PLR2004  no marker, which only a broken picture has
                self._in_scan = True
            elif head[1] == 0xFF:  # noqa: PLR2004  a filling byte
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
        # The last byte may be the first half of a beginning.
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
