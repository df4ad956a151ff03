"""Where one message ends and the next begins, whatever the pieces they come in."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import click
import pytest
from PIL import Image

from dcf.cli.framing import framing_of


def _split(frames: str, *chunks: bytes) -> list[bytes]:
    return list(framing_of(frames).split(chunks))


def _picture(seed: int, *, thumbnail: bytes = b"", **more) -> bytes:
    noise = random.Random(seed).randbytes(64 * 48 * 3)
    file = io.BytesIO()
    exif = b"Exif\x00\x00MM\x00*" + thumbnail
    image = Image.frombytes("RGB", (64, 48), noise)
    image.save(file, "JPEG", **({"exif": exif} if thumbnail else {}), **more)
    return file.getvalue()


def _chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_lines_come_as_soon_as_they_are_there():
    assert _split("lines") == []
    assert _split("lines", b"a\nb", b"c\n", b"\n\xff\r\nlast") == [
        b"a",
        b"bc",
        b"",
        b"\xff\r",
        b"last",
    ]

    def chunks():
        yield b"a\nb"
        raise AssertionError("the first line was to be had without this")

    assert next(framing_of("lines").split(chunks())) == b"a"


def test_pieces_are_of_one_size_but_for_the_last():
    assert _split("raw:4", b"a", b"bcdefg", b"hij") == [b"abcd", b"efgh", b"ij"]
    assert _split("raw:4", b"abcd") == [b"abcd"]


@pytest.mark.parametrize("size", [1, 7, 1000, 10**9])
def test_pictures_are_told_apart_whatever_they_have_inside(size):
    small = _picture(0, quality=20)
    pictures = [
        _picture(1),
        _picture(2, progressive=True),
        _picture(3, thumbnail=small),
        _picture(4, restart_marker_blocks=2) if size > 1 else small,
        small,
    ]
    assert pictures[2].count(b"\xff\xd8\xff") == 2
    between = b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n"
    data = between + between.join(pictures) + b"\xff\xff\xff\n"
    assert _split("jpg", *_chunks(data, size)) == pictures


def test_a_picture_comes_with_its_last_byte():
    picture = _picture(1)

    def chunks():
        yield picture
        raise AssertionError("the picture was to be had without this")

    assert next(framing_of("jpg").split(chunks())) == picture


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has no JPEG picture"),
        (b"GIF89a" * 100, "has no JPEG picture"),
        (_picture(1)[:-2], "ends within a JPEG picture"),
        (_picture(1) + b"\xff\xd8\xff\xe0", "ends within a JPEG picture"),
    ],
)
def test_what_is_no_picture_is_told(data, says):
    with pytest.raises(click.BadParameter, match=says):
        _split("jpg", data)


def test_a_broken_picture_ends_somewhere():
    broken = b"\xff\xd8" + bytes(100) + b"\xff\xd9"
    assert _split("jpg", broken + _picture(1)) == [broken, _picture(1)]


@pytest.mark.parametrize("frames", ["", "line", "raw", "raw:", "raw:0", "raw:-1", "raw:x", "jpg:1"])
def test_other_words_are_not_taken(frames):
    with pytest.raises(click.BadParameter, match="expected lines, jpg or raw:N"):
        framing_of(frames)
