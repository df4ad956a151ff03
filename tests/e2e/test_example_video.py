"""examples/05-streaming-video: boxes around what is in a frame, and frames that are none."""

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
"""Where it lies in every frame, nearly."""


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
    """A frame alone, as a plain call: the handler is the same."""
    url = serve(folder) + "/function/detect-video"
    return lambda frame: call(url, frame)


def test_the_video_is_whole(frames: list[bytes]) -> None:
    assert len(frames) == 27
    assert {opened(frame).size for frame in frames} == {SIZE}


def test_a_frame_comes_back_with_a_box_and_a_label(ask: Ask, frames: list[bytes]) -> None:
    status, _, reply = ask(frames[0])

    assert status == 200
    assert_annotated(reply)
    before, after = (np.asarray(opened(one).convert("RGB"), int) for one in (frames[0], reply))
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


def test_the_picture_of_the_readme_is_what_comes_back(
    ask: Ask, frames: list[bytes], folder: Path
) -> None:
    shown = (folder / "boxes.jpeg").read_bytes()

    assert_annotated(shown)
    difference = np.asarray(opened(ask(frames[0])[2]), int) - np.asarray(opened(shown), int)
    assert np.abs(difference).mean() < 2


def test_a_frame_of_nothing_comes_back_as_it_is(ask: Ask) -> None:
    status, _, reply = ask(packed(Image.new("L", (64, 48), 128), "JPEG"))

    assert (status, opened(reply).size, found_in(reply)) == (200, (64, 48), [])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("empty", "a JPEG is wanted, 0 bytes"),
        ("text", "a JPEG is wanted, 5 bytes"),
        ("a PNG", "a JPEG is wanted"),
        ("half a JPEG", "damaged"),
        ("large", "more than 10,000,000 pixels"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_reason(
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


def test_the_model_is_that_of_the_other_example(folder: Path) -> None:
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
