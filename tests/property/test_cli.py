"""Command-line values are parsed, or rejected as usage errors."""

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcf.cli.framing import framing_of, jpegs, lines, pieces
from dcf.cli.function_deploy import _share
from dcf.cli.io import headers_of
from property.trying import PLACES, attempt, cut

JPEG = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xda\x00\x03xdata\xff\x00\xff\xd3more\xff\xd9",
    b"\xff\xd8\xff\xfe\x00\x06\xff\xd8\xff\xd9\xff\xff\xda\x00\x02\xff\xd9",
    b"\xff\xd8\xff\x01\xff\xd9",
)
MARKERS = st.sampled_from(
    [*(bytes([0xFF, code]) for code in (0, 1, 0xD0, 0xD8, 0xD9, 0xDA, 0xE0, 0xFF)), b"\0\4ab", b"x"]
)


@example("raw:" + "9" * 5000)
@example("raw:\u0663")
@example("raw:\u00b2")
@given(
    st.sampled_from(["", "raw", "raw:", "lines", "jpg", ":"]).flatmap(
        lambda kind: st.text("0123456789-+_. \u0663\u00b2", max_size=6).map(kind.__add__)
    )
    | st.text(max_size=12)
)
def test_frames_are_parsed_or_rejected(text) -> None:
    framing, refusal = attempt(click.BadParameter, lambda: framing_of(text))
    if framing is None:
        assert "expected lines, jpg or raw:N" in str(refusal)
        return
    assert text in {"lines", "jpg"} or int(text.removeprefix("raw:")) > 0
    assert text.isascii()
    assert list(framing.split([b"a", b"b"]) if text != "jpg" else [b"ab"])


@given(st.binary(max_size=80), PLACES)
def test_lines_do_not_depend_on_how_the_input_is_split(data, places) -> None:
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert list(lines(cut(data, places))) == expected


@given(st.binary(max_size=80), PLACES, st.integers(1, 20))
def test_pieces_have_their_size_and_nothing_is_lost(data, places, size) -> None:
    result = list(pieces(cut(data, places), size))
    assert b"".join(result) == data
    assert all(len(piece) == size for piece in result[:-1])
    assert all(0 < len(piece) <= size for piece in result)


def pictures(chunks: list[bytes]) -> tuple[list[bytes], str]:
    pictures: list[bytes] = []
    _, refusal = attempt(click.BadParameter, lambda: pictures.extend(jpegs(chunks)))
    return pictures, str(refusal)


@given(st.lists(st.sampled_from(JPEG), min_size=1, max_size=4), st.binary(max_size=8), PLACES)
def test_pictures_are_found_however_the_input_is_split(given_, between, places) -> None:
    between = between.replace(b"\xff", b"")
    data = between + between.join(given_) + between
    assert list(jpegs(cut(data, places))) == given_


@given(st.lists(MARKERS, max_size=20).map(b"".join) | st.binary(max_size=60), PLACES)
def test_input_without_a_picture_is_rejected_however_it_is_split(data, places) -> None:
    whole = pictures([data])
    assert pictures(cut(data, places)) == whole
    assert pictures([bytes([code]) for code in data]) == whole


@given(st.lists(st.text(max_size=20), max_size=4))
def test_headers_are_parsed_or_rejected(given_) -> None:
    result, refusal = attempt(click.BadParameter, lambda: headers_of(given_))
    if result is None:
        assert "expected 'NAME: VALUE'" in str(refusal)
        return
    for name, value in result.items():
        assert name.isascii()
        assert name == name.strip() != ""
        assert value == value.strip()


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,4}(\.[0-9]{0,11})? ?%?", fullmatch=True))
def test_a_share_is_a_part_of_the_calls_or_rejected(text) -> None:
    context = click.Context(click.Command("deploy"))
    option = click.Option(["--canary"])
    share, _ = attempt(click.BadParameter, lambda: _share(context, option, text))
    if share is None:
        return
    assert 0 < share < 100
    assert share == pytest.approx(float(text.strip().removesuffix("%")))
