"""examples/05-streaming-video: boxes around the objects of a frame, and invalid frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcf.builder.bundle import find_files
from e2e.test_example_ssd import bare_png, box_of, opened, overlap, packed

Ask = Callable[[bytes], tuple[int, str, bytes]]

SIZE = (640, 360)
DOG = (132, 30, 400, 296)
"""The approximate box of the dog in every frame."""


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "05-streaming-video"


@pytest.fixture(scope="session")
def frames(folder: Path) -> list[bytes]:
    return frames_of((folder / "video" / "dog.mjpeg").read_bytes())


@pytest.fixture(scope="module")
def ask(
    serve: Callable[[Path], str], call: Callable[..., tuple[int, str, bytes]], folder: Path
) -> Ask:
    """Send a frame as a single call; the handler is the same as for streams."""
    url = serve(folder) + "/function/detect-video"
    return lambda frame: call(url, frame)


def test_the_video_has_all_frames(frames: list[bytes]) -> None:
    assert len(frames) == 27
    assert {opened(frame).size for frame in frames} == {SIZE}


def test_a_frame_is_returned_with_a_box_and_a_label(ask: Ask, frames: list[bytes]) -> None:
    status, _, reply = ask(frames[0])

    assert status == 200
    assert_annotated(reply)
    before, after = (np.asarray(opened(jpeg).convert("RGB"), int) for jpeg in (frames[0], reply))
    changed = np.abs(after - before).max(axis=2) > 60
    xmin, ymin, xmax, ymax = box_of(found_in(reply)[0])
    assert changed[ymin : ymin + 20, xmin : xmin + 60].mean() > 0.5  # the label
    for side in (
        changed[ymin : ymax + 1, xmin : xmin + 3],
        changed[ymin : ymax + 1, xmax - 2 : xmax + 1],
        changed[ymax - 2 : ymax + 1, xmin : xmax + 1],
    ):
        assert side.mean() > 0.5
    changed[ymin - 3 : ymax + 4, xmin - 3 : xmax + 4] = False
    assert changed.mean() < 0.001


def test_the_picture_of_the_readme_equals_the_reply(
    ask: Ask, frames: list[bytes], folder: Path
) -> None:
    shown = (folder / "boxes.jpeg").read_bytes()

    assert_annotated(shown)
    difference = np.asarray(opened(ask(frames[0])[2]), int) - np.asarray(opened(shown), int)
    assert np.abs(difference).mean() < 2


def test_a_blank_frame_is_returned_without_boxes(ask: Ask) -> None:
    status, _, reply = ask(packed(Image.new("L", (64, 48), 128), "JPEG"))

    assert (status, opened(reply).size, found_in(reply)) == (200, (64, 48), [])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "expected a JPEG, got 0 other bytes"),
        ("text", "expected a JPEG, got 5 other bytes"),
        ("a PNG", "expected a JPEG"),
        ("half a JPEG", "damaged"),
        ("large", "expected at most 10,000,000 pixels, got more"),
    ],
)
def test_an_invalid_frame_is_rejected_with_the_reason(
    ask: Ask, frames: list[bytes], case: str, reason: str
) -> None:
    bodies = {
        "empty": b"",
        "text": b"hello",
        "a PNG": bare_png(10, 10),
        "half a JPEG": frames[0][: len(frames[0]) // 2],
        "large": packed(Image.new("L", (10_001, 1000)), "JPEG"),
    }

    status, content_type, reply = ask(bodies[case])

    assert (status, content_type) == (400, "application/problem+json")
    assert reason in json.loads(reply)["detail"]
    assert ask(frames[0])[0] == 200


def test_the_model_is_a_link_to_that_of_the_ssd_example(folder: Path) -> None:
    checkout = Path(__file__).parents[2] / "examples" / folder.name
    model = "src/models/ssdlite_mobilenet_v2_coco.onnx"
    other = checkout.parent / "02-object-detection-ssd" / model

    assert (checkout / model).samefile(other)
    paths = {file.path for file in find_files(checkout)}
    assert model in paths
    assert not any(path.startswith(("video", "client", "boxes")) for path in paths)


def frames_of(mjpeg: bytes) -> list[bytes]:
    start = b"\xff\xd8\xff"
    return [start + rest for rest in mjpeg.split(start)[1:]]


def found_in(reply: bytes) -> Any:
    return json.loads(opened(reply).info["comment"])


def assert_annotated(reply: bytes) -> None:
    image = opened(reply)
    assert (image.format, image.size) == ("JPEG", SIZE)
    (dog,) = found_in(reply)
    assert dog["class"] == "dog"
    assert float(dog["confidence"]) > 0.9
    assert overlap(box_of(dog), DOG) > 0.85
