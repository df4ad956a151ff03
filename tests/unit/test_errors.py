"""The error tree: drawn as it is, and known everywhere it must be."""

import inspect
import re

import pytest

from dcf import errors
from dcf.cli.exit_codes import ExitCode, exit_code
from dcf.cli.hints import hint
from dcf.protocol.status_codes import STATUS, status_of

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.DcfError)
]


def test_the_drawing_is_the_tree():
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"^(?P<lead>[ │├└─]*)(?P<name>[A-Z]\w+)", line)
        if found and hasattr(errors, found["name"]):
            depth = (len(found["lead"]) - 4) // 4
            path[depth:] = [found["name"]]
            drawn[found["name"]] = path[depth - 1] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_status_and_an_exit_code(kind):
    assert 400 <= status_of(kind).http < 600
    assert 1 <= status_of(kind).grpc <= 16
    bare = kind.__new__(kind)
    assert exit_code(bare) is not ExitCode.OK


def test_only_the_root_is_a_defect_of_ours():
    bare = {kind for kind in ALL if exit_code(kind.__new__(kind)) is ExitCode.INTERNAL}
    assert bare == {errors.DcfError}


def test_the_status_table_names_known_errors_only():
    assert set(STATUS) <= set(ALL)


def test_near_names_become_hint():
    assert hint(errors.FunctionNotFound("no helo", near=["hello"])) == "Did you mean hello?"
    assert hint(errors.FunctionNotFound("no helo")) == ""


def test_a_config_error_tells_every_place(tmp_path):
    path = tmp_path / "config.yaml"
    problems = [errors.Problem(3, 5, "first"), errors.Problem(0, 0, "second")]
    assert str(errors.ConfigError(path, problems)) == f"{path}:3:5: first\n{path}: second"
