"""A spec as JSON: one spelling, and nothing let in that could do harm."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from dcf.errors import SpecInvalid
from dcf.model.function import FunctionSpec, Resources
from dcf.model.spec_json import (
    _MADE,
    _SPEC,
    spec_from_json,
    spec_from_members,
    spec_from_own_json,
    spec_to_json,
)
from unit.catalog.test_catalog import RICH


@pytest.mark.parametrize("spec", [FunctionSpec("f"), RICH], ids=["bare", "rich"])
def test_what_is_written_is_read_back(spec):
    data = spec_to_json(spec)
    assert spec_from_json(data) == spec
    assert spec_from_own_json(data.decode()) == spec
    assert spec_to_json(spec_from_json(data)) == data


def test_every_field_is_known():
    names = [field.name for field in fields(FunctionSpec)]
    assert list(_SPEC) == names
    values = json.loads(spec_to_json(RICH))
    composite = {name for name in names if isinstance(values.get(name), list)}
    assert composite | {"handler", "limits", "requests", "scaling"} == set(_MADE)


def test_defaults_are_left_out_and_one_value_has_one_spelling():
    assert spec_to_json(FunctionSpec("f")) == b'{"name":"f"}'
    whole = FunctionSpec("f", timeout=5, limits=Resources(cpu=2))
    parts = FunctionSpec("f", timeout=5.0, limits=Resources(cpu=2.0))
    assert spec_to_json(whole) == spec_to_json(parts)
    first = FunctionSpec("f", environment={"A": "1", "B": "2"})
    second = FunctionSpec("f", environment={"B": "2", "A": "1"})
    assert spec_to_json(first) == spec_to_json(second)


VARIABLE = "environment: expected a variable's name that does not start with DCF_"
NUL = "must not contain NUL or half of a surrogate pair"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "spec: expected an object, got a list"),
        ({}, "name: expected a function's name, got nothing"),
        ({"name": "../up"}, "name: invalid function name '../up': it must start with a lower-case"),
        ({"name": 1}, "name: expected text, got a number"),
        ({"name": "f", "colour": "red"}, 'unknown field "colour"'),
        ({"name": "f", "timout": 5}, 'unknown field "timout" (did you mean "timeout"?)'),
        ({"name": "f", "desc": "a\0b"}, f"desc: {NUL}"),
        ({"name": "f", "desc": "\ud800"}, f"desc: {NUL}"),
        (
            {"name": "f", "handler": {"dir": "../other"}},
            "handler.dir: expected a folder inside the function's, got '../other'",
        ),
        (
            {"name": "f", "handler": {"dir": "/etc"}},
            "handler.dir: expected a folder inside the function's, got '/etc'",
        ),
        (
            {"name": "f", "handler": {"file": "../a.py"}},
            "handler.file: expected the name of a .py file, got '../a.py'",
        ),
        (
            {"name": "f", "handler": {"name": "a b"}},
            "handler.name: expected the name of a class or function, got 'a b'",
        ),
        ({"name": "f", "handler": "src"}, "handler: expected an object, got text"),
        (
            {"name": "f", "limits": {"memory": -1}},
            "limits.memory: expected a whole number, 1 or more, got -1",
        ),
        (
            {"name": "f", "limits": {"memory": 2**63}},
            "limits.memory: expected a whole number, 1 or more, got 9223372036854775808",
        ),
        (
            {"name": "f", "limits": {"gpu": True}},
            "limits.gpu: expected a whole number, 0 or more, got true",
        ),
        (
            {"name": "f", "limits": {"cpu": float("nan")}},
            "limits.cpu: expected a number above 0, got NaN",
        ),
        ({"name": "f", "requests": {"disk": 1}}, 'unknown field "requests.disk"'),
        (
            {"name": "f", "requests": {"cpus": 1}},
            'unknown field "requests.cpus" (did you mean "requests.cpu"?)',
        ),
        (
            {"name": "f", "timeout": float("inf")},
            "timeout: expected a number above 0, got Infinity",
        ),
        ({"name": "f", "timeout": "5"}, "timeout: expected a number above 0, got '5'"),
        ({"name": "f", "timeout": True}, "timeout: expected a number above 0, got true"),
        ({"name": "f", "concurrency": 0}, "concurrency: expected a whole number, 1 or more, got 0"),
        ({"name": "f", "queue": 1.5}, "queue: expected a whole number, 0 or more, got 1.5"),
        ({"name": "f", "preflight": 1}, "preflight: expected true or false, got 1"),
        ({"name": "f", "preflight": None}, "preflight: expected true or false, got null"),
        ({"name": "f", "build_args": [["A", "\ud800"]]}, f"build_args: {NUL}"),
        ({"name": "f", "python": "3"}, "python: expected a version such as 3.12, got '3'"),
        (
            {"name": "f", "environment": {"DCF_LISTEN": "x"}},
            f"{VARIABLE}, got 'DCF_LISTEN'",
        ),
        (
            {"name": "f", "environment": {"A=B": "x"}},
            f"{VARIABLE}, got 'A=B'",
        ),
        ({"name": "f", "environment": {"A": 1}}, "environment.A: expected text, got a number"),
        (
            {"name": "f", "secrets": ["../../etc/shadow"]},
            "secrets[0]: expected a file's name without a folder, got '../../etc/shadow'",
        ),
        (
            {"name": "f", "secrets": ["a", ".."]},
            "secrets[1]: expected a file's name without a folder, got '..'",
        ),
        ({"name": "f", "secrets": "token"}, "secrets: expected a list, got text"),
        ({"name": "f", "labels": {"": "x"}}, "labels: expected a label's key, got ''"),
        (
            {"name": "f", "build_args": [["A"]]},
            "build_args: expected a list of pairs of texts, got other items",
        ),
        (
            {"name": "f", "build_args": {}},
            "build_args: expected a list of pairs of texts, got an object",
        ),
    ],
)
def test_what_does_not_fit_is_told_by_its_field(members, message):
    with pytest.raises(SpecInvalid) as raised:
        spec_from_members(members)
    assert str(raised.value).startswith(message)


def test_a_value_is_not_told_because_it_may_be_secret():
    for given in (
        {"environment": {"A": "very\0private"}},
        {"environment": "A=private"},
        {"build_args": "A=private"},
        {"build_args": ["A=private"]},
        {"build_args": [["A", "very\0private"]]},
    ):
        with pytest.raises(SpecInvalid) as raised:
            spec_from_members({"name": "f", **given})
        assert "private" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(data):
    with pytest.raises(SpecInvalid):
        spec_from_json(data)
