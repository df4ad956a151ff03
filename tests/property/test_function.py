"""The input and output of a handler; settings and ids."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcf.errors import BadRequest, ConfigError, UnsupportedReply
from dcf.function.reply import MessageKind, Reply, encode, encode_chunk, encode_message
from dcf.function.request import Headers, Request
from dcf.settings import (
    BridgeSettings,
    ControlSettings,
    DataplaneSettings,
    Locations,
    StoreSettings,
    WatcherSettings,
)
from dcf.telemetry.ids import new_request_id
from property.kit import DEEP, JSON, TEXTS

# Requests


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"a", b"=", b"&", b"%", b"%e9", b"+", b";"]), max_size=12).map(
        b"".join
    )
)
def test_every_query_can_be_parsed(query):
    result = Request(query=query).query
    assert all(isinstance(part, str) for pair in result.items() for part in pair)


@given(st.dictionaries(st.text(min_size=1, max_size=6), st.text(max_size=6), max_size=4))
def test_a_query_is_parsed_to_what_was_written(wanted):
    assert Request(query=urlencode(wanted).encode()).query == wanted
    assert Request(query=urlencode(wanted, quote_via=quote).encode()).query == wanted


@given(st.binary(max_size=40) | DEEP | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_body_is_json_and_text_or_a_bad_request(body):
    for read in (Request.json, lambda req: req.text):
        try:
            read(Request(body))
        except BadRequest:
            continue


@given(JSON)
def test_json_is_parsed_to_what_was_written(value):
    try:
        body = encode([value]).body
    except UnsupportedReply:
        return
    assert isinstance(body, bytes)
    assert Request(body).json() == json.loads(json.dumps([value]))


NAMES = st.sampled_from([b"content-type", b"Content-Type", b"x-a", b"X-A", b"\xff"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=9)), max_size=6))
def test_every_header_is_found_by_any_spelling_of_its_name(pairs):
    headers = Headers(pairs)
    for name, _ in pairs:
        spelt = name.decode("latin-1")
        joined = ", ".join(
            v.decode("latin-1") for n, v in pairs if n.decode("latin-1").lower() == spelt.lower()
        )
        assert headers[spelt] == headers[spelt.upper().lower()] == joined
        assert spelt in headers
    assert isinstance(Request(headers=pairs).content_type, str)


# Replies


class Odd:
    """A value that raises on every attribute access."""

    def __getattr__(self, name: str) -> Any:
        if name in {"_repr_pretty_", "__sympy__"}:  # hypothesis calls it to print a failing example
            raise AttributeError(name)
        raise ZeroDivisionError(name)

    def __repr__(self) -> str:
        raise ZeroDivisionError


class OddDict(dict[Any, Any]):
    def items(self) -> Any:
        raise ZeroDivisionError


class OddInt(int):
    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


class OddMessage(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Lying:
    """A value that lies about its class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise ZeroDivisionError


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def circular() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


def nested() -> list[Any]:
    result: list[Any] = []
    for _ in range(100_000):
        result = [result]
    return result


ODDITIES: list[Any] = [
    None, Odd(), OddDict(a=1), OddInt(1), OddMessage(), released(), circular(), nested(), object, ...,
    1, 1.5, 10**5000, float("nan"), {1, 2}, (1, 2), "\ud800", "\udcff", dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    decimal.Decimal(1), {"\ud800": 1}, {(1, 2): 3}, {b"a": 1}, memoryview(b"abcdef")[::2], bytearray(b"a"),
]  # fmt: skip
ODD = st.integers(0, len(ODDITIES) - 1).map(lambda place: ODDITIES[place])


def hashable(value: object) -> bool:
    try:
        hash(value)
    except Exception:  # noqa: BLE001  these values may raise anything
        return False
    return True


ARRAYS = st.sampled_from([
    np.zeros((2, 3)), np.array([object()]), np.array(1), np.zeros(0), np.zeros((1,), "U3,i4"),
    np.array(["a"], dtype="U"), np.ma.masked_array([1, 2], [False, True]), np.array(["2026-01-01"], "M8[s]"),
    np.zeros(2, dtype=[("a", "i4"), ("b", "O")]), np.zeros(2)[::-1], np.float32(1),
])  # fmt: skip
MODES = [
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "La",
    "I;16",
]
PICTURES = st.builds(
    Image.new, st.sampled_from(MODES), st.tuples(st.integers(0, 3), st.integers(0, 3))
)
BODIES = st.recursive(
    JSON | ODD | ARRAYS | PICTURES | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | inner.filter(hashable), inner, max_size=3)
        | inner.map(lambda x: iter([x]))
    ),
    max_leaves=5,
)


def replied(body: Any, content_type: Any, status: Any, headers: Any) -> Reply:
    reply = Reply(body, content_type, status)
    reply.headers = headers
    return reply


REPLIES = st.builds(
    replied,
    BODIES,
    st.none() | TEXTS | ODD,
    st.integers(-1, 700) | ODD,
    st.dictionaries(TEXTS | st.sampled_from(["X-A", "connection"]), TEXTS | ODD, max_size=3) | ODD,
)
UNLIKE = [Lying(), [Lying()], {"a": Lying()}, Reply(Lying()), Reply(headers={"a": Lying()})]  # type: ignore[dict-item]
"""Values that hypothesis cannot inspect."""


def check_whole(value: object) -> None:
    try:
        result = encode(value)
    except UnsupportedReply as error:
        assert str(error)
        return
    assert 200 <= result.status <= 599
    for part in (result.content_type, *(part for pair in result.headers for part in pair)):
        assert isinstance(part, bytes)
        assert not set(part) & {0, 10, 13}
    assert isinstance(result.body, bytes | Iterator)


def check_part(value: object) -> None:
    for way in (encode_chunk, encode_message):
        try:
            result: Any = way(value)
        except UnsupportedReply:
            continue
        body, kind = result if isinstance(result, tuple) else (result, MessageKind.BINARY)
        assert isinstance(body, bytes)
        assert isinstance(kind, MessageKind)


@given(BODIES | REPLIES)
def test_the_return_value_of_a_handler_is_a_reply_or_unsupported(value):
    check_whole(value)


@given(BODIES | REPLIES)
def test_a_yielded_value_is_bytes_or_unsupported(value):
    check_part(value)


@pytest.mark.parametrize("check", [check_whole, check_part])
def test_a_value_that_lies_about_its_class_is_unsupported(check):
    for value in UNLIKE:
        check(value)


# Settings

VALUES = TEXTS.filter(lambda text: "\0" not in text) | st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "1.5",
        "inf",
        "-inf",
        "nan",
        "1e400",
        "9" * 5000,
        "٣",
        " 7 ",
        "1_000",
        "0x10",
        "true",
    ]
)
ALL = [
    (WatcherSettings, "DCF_"),
    (ControlSettings, "DCF_CONTROL_"),
    (DataplaneSettings, "DCF_ENVOY_"),
    (BridgeSettings, "DCF_BRIDGE_"),
    (StoreSettings, "DCF_STORE_"),
]


@pytest.mark.parametrize(
    ("kind", "prefix"), ALL, ids=lambda value: getattr(value, "__name__", None)
)
@given(data=st.data())
def test_variables_are_settings_or_rejected_by_name(kind, prefix, data):
    names = st.sampled_from([prefix + field.name.upper() for field in fields(kind)])
    env = data.draw(st.dictionaries(names | TEXTS, VALUES, max_size=4))
    try:
        result = kind.from_mapping(env)
    except ConfigError as error:
        assert str(error.path) in env
        return
    for field in fields(kind):
        value = getattr(result, field.name)
        assert type(value) is type(field.default)
        assert not isinstance(value, int | float) or 0 <= value < float("inf")
    if hasattr(result, "to_mapping"):
        assert kind.from_mapping(result.to_mapping()) == result


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "HOME",
                "DCF_DATA_DIR",
                "DCF_RUNTIME_DIR",
                "XDG_RUNTIME_DIR",
                "XDG_DATA_HOME",
                "TMPDIR",
            ]
        ),
        st.binary(max_size=9).map(lambda name: os.fsdecode(name.replace(b"\0", b""))),
    ),
    st.sampled_from(["linux", "darwin"]),
)
def test_locations_are_absolute(env, platform):
    places = Locations.from_mapping(env, platform)
    assert places.data.is_absolute()
    assert places.runtime.is_absolute()
    assert places.gateway_runtime.name.startswith("gateway-")


@given(st.integers(1, 50))
def test_an_id_fits_a_header_and_is_unique(number):
    result = {new_request_id() for _ in range(number)}
    assert len(result) == number
    assert all(re.fullmatch(rb"[!-~]{1,128}", id_) for id_ in result)
