"""examples/02-object-detection-ssd: the objects in real photos, and input that is not a picture."""

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
"""The objects that the network detects in each photo; boxes are (xmin, ymin, xmax, ymax)."""

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
    """Serve one loaded model for all tests of this module."""
    url = serve(folder) + "/function/ssd"

    def post(body: bytes) -> tuple[int, Any]:
        status, content_type, reply = call(url, body)
        assert content_type == "application/json", reply
        return status, json.loads(reply)

    return post


def test_run_accepts_base64_as_in_the_readme(
    dcf: Dcf, folder: Path, photos: dict[str, bytes]
) -> None:
    result = dcf("function", "run", folder, input=base64.encodebytes(photos["coffee.png"]))

    assert result.returncode == 0, result.stderr.decode()
    assert_found(json.loads(result.stdout), EXPECTED["coffee.png"])


def test_run_reads_and_writes_files_as_in_the_readme(
    dcf: Dcf, folder: Path, tmp_path: Path
) -> None:
    reply = tmp_path / "objects.json"
    options = ("--input", "pictures/cat_chelsea.png", "--reply", reply)
    result = dcf("function", "run", "ssd", *options, cwd=folder)

    assert result.returncode == 0, result.stderr.decode()
    assert_found(json.loads(reply.read_bytes()), EXPECTED["cat_chelsea.png"])


def test_run_with_text_fails_and_gives_the_reason(dcf: Dcf, folder: Path) -> None:
    result = dcf("function", "run", folder, input=b"no picture")

    assert result.returncode == 9
    assert "expected a picture" in json.loads(result.stdout)["error"]


def test_the_model_is_in_the_bundle_and_the_pictures_are_not(folder: Path) -> None:
    paths = {file.path for file in find_files(folder)}

    assert "src/models/ssdlite_mobilenet_v2_coco.onnx" in paths
    assert "src/models/LICENSE" in paths
    assert not any(path.startswith("pictures") for path in paths)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("encode", [bytes, base64.b64encode, base64.encodebytes])
def test_the_objects_in_a_photo_are_detected(
    ask: Ask, photos: dict[str, bytes], name: str, encode: Callable[[bytes], bytes]
) -> None:
    status, detections = ask(encode(photos[name]))

    assert status == 200
    assert_found(detections, EXPECTED[name])


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF")],
)
def test_pictures_of_any_mode_and_format_are_read(
    ask: Ask, photos: dict[str, bytes], mode: str, kind: str
) -> None:
    status, detections = ask(packed(opened(photos["coffee.png"]).convert(mode), kind))

    assert status == 200
    assert detections[0]["class"] == "cup"
    assert overlap(box_of(detections[0]), EXPECTED["coffee.png"][0][2]) > 0.8


def test_a_sideways_picture_is_rotated(ask: Ask, photos: dict[str, bytes]) -> None:
    lying = opened(photos["cat_chelsea.png"]).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    note = Image.Exif()
    note[0x0112] = 6  # EXIF: rotate clockwise to see it upright
    status, detections = ask(packed(lying, "JPEG", exif=note, quality=95))

    assert status == 200
    assert detections[0]["class"] == "cat"
    assert overlap(box_of(detections[0]), EXPECTED["cat_chelsea.png"][0][2]) > 0.8


def test_a_blank_picture_gives_an_empty_list(ask: Ask) -> None:
    assert ask(packed(Image.new("RGB", (1, 1)), "PNG")) == (200, [])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "expected a picture, as bytes or as base64, got an empty body"),
        (
            "text",
            "expected a picture (PNG, JPEG, WEBP, GIF, BMP, TIFF) or its base64, got 23 other bytes",
        ),
        ("base64 of text", "got 8 other bytes"),
        ("half a PNG", "damaged"),
        ("half a JPEG", "damaged"),
        ("base64 of half a PNG", "damaged"),
        ("base64 cut off", "picture"),
        ("a bomb", "expected at most 50,000,000 pixels, got more"),
        ("no pixels", "expected a picture"),
    ],
)
def test_input_that_is_not_a_picture_is_rejected_with_the_reason(
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


def test_it_keeps_working_after_a_rejected_picture(ask: Ask, photos: dict[str, bytes]) -> None:
    assert ask(b"no picture")[0] == 400
    assert_found(ask(photos["astronaut.png"])[1], EXPECTED["astronaut.png"])


def assert_found(detections: Any, expected: list[tuple[str, float, Box]]) -> None:
    assert [detection["class"] for detection in detections] == [name for name, _, _ in expected]
    for detection, (_, confidence, box) in zip(detections, expected, strict=True):
        assert set(detection) == KEYS
        assert all(isinstance(value, str) for value in detection.values())
        assert float(detection["confidence"]) == pytest.approx(confidence, abs=0.02)
        assert overlap(box_of(detection), box) >= 0.8


def box_of(detection: dict[str, str]) -> Box:
    return (
        int(detection["xmin"]),
        int(detection["ymin"]),
        int(detection["xmax"]),
        int(detection["ymax"]),
    )


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bare_png(width: int, height: int) -> bytes:
    """Return a PNG with a header but without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
