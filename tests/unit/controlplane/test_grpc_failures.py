"""Messages of gRPC statuses."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from dcf.errors import BuildError, FunctionNotFound, HandlerInitFailed, SpecInvalid
from dcf.rpc.grpc_status import LONGEST_MESSAGE, bounded, message_of


def test_the_message_is_that_of_the_error() -> None:
    assert message_of(SpecInvalid("Limits.CPU: 'x' found")) == "Limits.CPU: 'x' found"


def test_similar_names_are_appended() -> None:
    one = message_of(FunctionNotFound("no function 'x' is deployed", ["xy"]))
    two = message_of(FunctionNotFound("no function 'x' is deployed", ["xy", "xz"]))

    assert one == "no function 'x' is deployed (did you mean xy?)"
    assert two == "no function 'x' is deployed (did you mean xy or xz?)"


def test_a_traceback_and_a_tools_output_are_appended() -> None:
    start = HandlerInitFailed("Handler() failed", traceback="Traceback ...\n  here")
    build = BuildError("it cannot be built", output="error: no such package")

    assert message_of(start) == "Handler() failed\nTraceback ...\n  here"
    assert message_of(build) == "it cannot be built\nerror: no such package"


@pytest.mark.parametrize("character", ["x", "é", "한", "\U0001f600", "\n", "%"])
def test_a_long_message_is_shortened_in_the_middle_to_fit_a_header(character: str) -> None:
    text = "BEGIN" + character * 20_000 + "END"
    told = bounded(text)
    # As gRPC writes it into a header: all but what is printable, and % too, takes three bytes.
    encoded = quote(told, safe="".join(map(chr, range(32, 127))).replace("%", ""))

    assert told.startswith("BEGIN")
    assert told.endswith("END")
    assert "\n[...]\n" in told
    assert "\ufffd" not in told
    assert LONGEST_MESSAGE * 0.9 < len(encoded) < LONGEST_MESSAGE * 1.1


def test_a_short_message_is_unchanged() -> None:
    assert bounded("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE
    assert bounded("한" * (LONGEST_MESSAGE // 9)) == "한" * (LONGEST_MESSAGE // 9)


def test_half_of_a_character_is_replaced() -> None:
    assert bounded("a\udcffb") == "a?b"
