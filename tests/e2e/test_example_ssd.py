"""examples/02-object-detection-ssd: the objects in real photos, and pictures that are none."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dcf.builder.bundle import find_files

Dcf = Callable[..., subprocess.CompletedProcess[bytes]]
Ask = Callable[[bytes], tuple[int, Any]]
Box = tuple[int, int, int, int]

EXPECTED: dict[str, list[tuple[str, float, Box]]] = {
    "cat_chelsea.png": [("cat", 0.9390, (1, 3, 403, 298))],
    "coffee.png": [
        ("cup", 0.9611, (173, 23, 415, 254)),
        ("dining table", 0.7163, (0, 3, 600, 396)),
    ],
    "astronaut.png": [("person", 0.6498, (27, 8, 368, 480))],
}
"""What the network finds in each photo: (xmin, ymin, xmax, ymax)."""

KEYS = {"class", "confidence", "xmin", "ymin", "xmax", "ymax"}


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "02-object-detection-ssd"


@pytest.fixture(scope="session")
def photos(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "pictures" / name).read_bytes() for name in EXPECTED}


@pytest.fixture(scope="module")
def ask(
    serve: Callable[[Path], str], call: Callable[..., tuple[int, str, bytes]], folder: Path
) -> Ask:
    """One loaded model for all the pictures of this module."""
    url = serve(folder) + "/function/ssd"

    def post(body: bytes) -> tuple[int, Any]:
        status, content_type, reply = call(url, body)
        assert content_type == "application/json", reply
        return status, json.loads(reply)

    return post


def test_run_with_base64_as_the_readme_does(
    dcf: Dcf, folder: Path, photos: dict[str, bytes]
) -> None:
    done = dcf("function", "run", folder, input=base64.encodebytes(photos["coffee.png"]))

    assert done.returncode == 0, done.stderr.decode()
    assert_found(json.loads(done.stdout), EXPECTED["coffee.png"])


def test_run_with_files_as_the_readme_does(dcf: Dcf, folder: Path, tmp_path: Path) -> None:
    reply = tmp_path / "objects.json"
    asked = ("--input", "pictures/cat_chelsea.png", "--reply", reply)
    done = dcf("function", "run", "ssd", *asked, cwd=folder)

    assert done.returncode == 0, done.stderr.decode()
    assert_found(json.loads(reply.read_bytes()), EXPECTED["cat_chelsea.png"])


def test_run_with_a_text_fails_and_says_why(dcf: Dcf, folder: Path) -> None:
    done = dcf("function", "run", folder, input=b"no picture")

    assert done.returncode == 9
    assert "neither a picture" in json.loads(done.stdout)["error"]


def test_the_model_is_in_the_bundle_and_the_pictures_are_not(folder: Path) -> None:
    paths = {file.path for file in find_files(folder)}

    assert "src/models/ssdlite_mobilenet_v2_coco.onnx" in paths
    assert "src/models/LICENSE" in paths
    assert not any(path.startswith("pictures") for path in paths)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("encode", [bytes, base64.b64encode, base64.encodebytes])
def test_the_objects_in_a_photo(
    ask: Ask, photos: dict[str, bytes], name: str, encode: Callable[[bytes], bytes]
) -> None:
    status, found = ask(encode(photos[name]))

    assert status == 200
    assert_found(found, EXPECTED[name])


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF")],
)
def test_any_kind_of_picture_will_do(
    ask: Ask, photos: dict[str, bytes], mode: str, kind: str
) -> None:
    status, found = ask(packed(opened(photos["coffee.png"]).convert(mode), kind))

    assert status == 200
    assert found[0]["class"] == "cup"
    assert overlap(box_of(found[0]), EXPECTED["coffee.png"][0][2]) > 0.8


def test_a_picture_that_lies_on_its_side_is_turned(ask: Ask, photos: dict[str, bytes]) -> None:
    lying = opened(photos["cat_chelsea.png"]).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    note = Image.Exif()
    note[0x0112] = 6  # EXIF: turn it clockwise to see it upright
    status, found = ask(packed(lying, "JPEG", exif=note, quality=95))

    assert status == 200
    assert found[0]["class"] == "cat"
    assert overlap(box_of(found[0]), EXPECTED["cat_chelsea.png"][0][2]) > 0.8


def test_a_picture_of_nothing_gives_an_empty_list(ask: Ask) -> None:
    assert ask(packed(Image.new("RGB", (1, 1)), "PNG")) == (200, [])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "empty"),
        ("text", "neither a picture"),
        ("base64 of text", "neither a picture"),
        ("half a PNG", "damaged"),
        ("half a JPEG", "damaged"),
        ("base64 of half a PNG", "damaged"),
        ("base64 cut off", "picture"),
        ("a bomb", "more than 50,000,000 pixels"),
        ("no pixels", "neither a picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(
    ask: Ask, photos: dict[str, bytes], case: str, reason: str
) -> None:
    png = photos["coffee.png"]
    jpeg = packed(opened(png), "JPEG")
    bodies = {
        "empty": b" \n",
        "text": b"Hello, no picture here!",
        "base64 of text": base64.b64encode(b"Hello"),
        "half a PNG": png[: len(png) // 2],
        "half a JPEG": jpeg[: len(jpeg) // 2],
        "base64 of half a PNG": base64.encodebytes(png[: len(png) // 2]),
        "base64 cut off": base64.encodebytes(png)[:10_001],
        "a bomb": bare_png(60_000, 60_000),
        "no pixels": bare_png(0, 100),
    }

    status, reply = ask(bodies[case])

    assert status == 400
    assert reason in reply["error"]


def test_it_goes_on_after_a_refusal(ask: Ask, photos: dict[str, bytes]) -> None:
    assert ask(b"no picture")[0] == 400
    assert_found(ask(photos["astronaut.png"])[1], EXPECTED["astronaut.png"])


def assert_found(found: Any, expected: list[tuple[str, float, Box]]) -> None:
    assert [one["class"] for one in found] == [name for name, _, _ in expected]
    for one, (_, confidence, box) in zip(found, expected, strict=True):
        assert set(one) == KEYS
        assert all(isinstance(value, str) for value in one.values())
        assert float(one["confidence"]) == pytest.approx(confidence, abs=0.02)
        assert overlap(box_of(one), box) >= 0.8


def box_of(one: dict[str, str]) -> Box:
    return int(one["xmin"]), int(one["ymin"]), int(one["xmax"]), int(one["ymax"])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bare_png(width: int, height: int) -> bytes:
    """A PNG that says how large it is and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
