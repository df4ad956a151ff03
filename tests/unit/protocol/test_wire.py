"""Errors as documents, reports as lines."""

import inspect
import json
from pathlib import Path

import pytest

from dcf import errors
from dcf.model.replica import ReplicaState
from dcf.protocol.problem import error_of, from_problem, problem_members, to_problem
from dcf.protocol.report import Report

FULL = [
    errors.HandlerRaised("ValueError: x", "ValueError", "Traceback ..."),
    errors.Overloaded("full"),
    errors.Overloaded("full", 7),
    errors.BodyTooLarge(5),
    errors.FunctionNotFound("no helo", ["hello", "hallo"]),
    errors.FunctionAmbiguous("two", ["a", "b"]),
    errors.InvalidName("X", "capitals"),
    errors.ConfigError(Path("config.yaml"), [errors.Problem(3, 5, "é"), errors.Problem(0, 0, "x")]),
    errors.FolderExists(Path("/tmp/x")),
    errors.SecretNotFound("token", Path("/secrets/token")),
    errors.SecretNotFound("token", None),
    errors.PackageNotFound("no such package", "uv: no"),
    errors.GpuUnavailable(2, 1, 4),
    errors.HandlerInitFailed("no weights", "Traceback ..."),
    errors.ReplicaExited("exit code 1"),
    errors.UploadInvalid("5 comes next", 5),
]
TOLD = {type(error) for error in FULL}
PLAIN = [
    kind("a sentence")
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.DcfError) and kind not in TOLD
]


@pytest.mark.parametrize("error", [*FULL, *PLAIN], ids=lambda error: type(error).__name__)
def test_an_error_survives_the_wire(error):
    document = to_problem(error, "id-1")
    members = json.loads(document)
    back = from_problem(members["status"], document)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert members["request_id"] == "id-1"
    assert error_of(problem_members(error)).args == (str(error),)


def test_members_that_do_not_fit_have_their_defaults():
    back = error_of({"error": "UploadInvalid", "detail": "x", "offset": "much"})
    assert isinstance(back, errors.UploadInvalid)
    assert back.offset == 0


@pytest.mark.parametrize("name", ["annotations", "Path", "Problem", "NO_SPACE", "Newer"])
def test_what_is_no_error_of_ours_is_told_with_its_status(name):
    back = error_of({"error": name, "detail": "why", "status": 418})
    assert (type(back), str(back)) == (errors.CallError, "HTTP 418: why")


@pytest.mark.parametrize("body", [b"", b"oops", b"[1]", b"\xff", b'{"error": "Strange"}'])
def test_an_answer_that_is_no_document_of_ours(body):
    back = from_problem(502, body)
    assert type(back) is errors.CallError
    assert "HTTP 502" in str(back)


def test_nothing_empty_is_sent():
    assert set(json.loads(to_problem(errors.NotReady("x")))) == {
        "type",
        "title",
        "status",
        "detail",
        "error",
    }


@pytest.mark.parametrize(
    "report",
    [
        Report(ReplicaState.READY, endpoint="unix:/run/a b.sock"),
        Report(ReplicaState.DRAINING),
        Report.failed(errors.HandlerInitFailed("no weights", "Traceback\n  line")),
    ],
)
def test_a_report_is_one_line(report):
    line = report.to_line()
    assert line.count(b"\n") == 1
    assert Report.from_line(line) == report


def test_a_failed_report_becomes_its_error():
    for kind in (errors.HandlerNotFound, errors.HandlerImportFailed, errors.HandlerInitFailed):
        error = Report.failed(kind("why", "where")).to_error()
        assert (type(error), str(error), error.traceback) == (kind, "why", "where")


@pytest.mark.parametrize(
    "line", [b"", b"hello\n", b"{}\n", b"[]\n", b"null\n", b'{"state": "flying"}\n']
)
def test_what_is_no_report(line):
    with pytest.raises(ValueError):  # noqa: PT011  json's own sentence
        Report.from_line(line)
