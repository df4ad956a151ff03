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


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "spec: an object is wanted"),
        ({}, "name: a function's name is wanted"),
        ({"name": "../up"}, "name: '../up' is no name"),
        ({"name": 1}, "name: a text"),
        ({"name": "f", "colour": "red"}, "colour: there is no such field"),
        ({"name": "f", "desc": "a\0b"}, "desc: a text without a zero"),
        ({"name": "f", "desc": "\ud800"}, "desc: a text"),
        ({"name": "f", "handler": {"dir": "../other"}}, "handler.dir: a folder inside"),
        ({"name": "f", "handler": {"dir": "/etc"}}, "handler.dir: a folder inside"),
        ({"name": "f", "handler": {"file": "../a.py"}}, "handler.file: the name of a .py file"),
        ({"name": "f", "handler": {"name": "a b"}}, "handler.name: the name of a class"),
        ({"name": "f", "handler": "src"}, "handler: an object is wanted"),
        ({"name": "f", "limits": {"memory": -1}}, "limits.memory: a whole number from 1 on"),
        ({"name": "f", "limits": {"memory": 2**63}}, "limits.memory: a whole number"),
        ({"name": "f", "limits": {"gpu": True}}, "limits.gpu: a whole number"),
        ({"name": "f", "limits": {"cpu": float("nan")}}, "limits.cpu: a number above 0"),
        ({"name": "f", "requests": {"disk": 1}}, "requests.disk: there is no such field"),
        ({"name": "f", "timeout": float("inf")}, "timeout: a number above 0"),
        ({"name": "f", "timeout": "5"}, "timeout: a number above 0"),
        ({"name": "f", "timeout": True}, "timeout: a number above 0"),
        ({"name": "f", "concurrency": 0}, "concurrency: a whole number from 1 on"),
        ({"name": "f", "queue": 1.5}, "queue: a whole number from 0 on"),
        ({"name": "f", "preflight": 1}, "preflight: expected true or false"),
        ({"name": "f", "preflight": None}, "preflight: expected true or false"),
        ({"name": "f", "build_args": [["A", "\ud800"]]}, "build_args: a text"),
        ({"name": "f", "python": "3"}, "python: a version such as 3.12"),
        ({"name": "f", "environment": {"DCF_LISTEN": "x"}}, "environment: a variable's name"),
        ({"name": "f", "environment": {"A=B": "x"}}, "environment: a variable's name"),
        ({"name": "f", "environment": {"A": 1}}, "environment.A: a text"),
        ({"name": "f", "secrets": ["../../etc/shadow"]}, r"secrets\[0\]: a file's name"),
        ({"name": "f", "secrets": ["a", ".."]}, r"secrets\[1\]: a file's name"),
        ({"name": "f", "secrets": "token"}, "secrets: a list is wanted"),
        ({"name": "f", "labels": {"": "x"}}, "labels: a label's key"),
        ({"name": "f", "build_args": [["A"]]}, "build_args: a list of pairs of texts"),
        ({"name": "f", "build_args": {}}, "build_args: a list of pairs"),
    ],
)
def test_what_does_not_fit_is_told_by_its_field(members, message):
    with pytest.raises(SpecInvalid, match=message):
        spec_from_members(members)


def test_a_value_is_not_told_because_it_may_be_secret():
    with pytest.raises(SpecInvalid) as raised:
        spec_from_members({"name": "f", "environment": {"A": "very\0private"}})
    assert "private" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(data):
    with pytest.raises(SpecInvalid):
        spec_from_json(data)
