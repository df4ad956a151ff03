"""Errors as documents, reports as lines."""

import json

import pytest

from dcf import errors
from dcf.model.replica import ReplicaState
from dcf.protocol.problem import from_problem, to_problem
from dcf.protocol.report import Report


@pytest.mark.parametrize(
    "error",
    [
        errors.HandlerRaised("ValueError: x", "ValueError", "Traceback ..."),
        errors.UnsupportedReply("a set"),
        errors.DeadlineExceeded("late"),
        errors.Overloaded("full"),
        errors.NotReady("starting"),
        errors.BadRequest("no JSON"),
    ],
)
def test_an_error_survives_the_wire(error):
    document = to_problem(error, "id-1")
    members = json.loads(document)
    back = from_problem(members["status"], document)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert members["request_id"] == "id-1"


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
