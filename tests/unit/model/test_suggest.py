"""Names that resemble one that is not there."""

import time

import pytest

from dcf.model.suggest import nearest

NAMES = ["hello", "hello-dcf", "detect", "spectrogram", "video-stream"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("helo", ["hello", "hello-dcf"]),
        ("HELLO", ["hello", "hello-dcf"]),
        ("hello_dcf", ["hello-dcf", "hello"]),
        ("spec", ["spectrogram"]),
        ("video", ["video-stream"]),
        ("xyz", []),
        ("", []),
        ("../../etc/passwd", []),
    ],
)
def test_the_nearest_come_first(asked, found):
    assert nearest(asked, NAMES) == found


def test_no_name_is_so_long_that_it_costs_much():
    names = [f"function-{number}" for number in range(1000)]
    begin = time.process_time()
    assert len(nearest("function-" * 100_000, names)) <= 3
    assert time.process_time() - begin < 0.5
