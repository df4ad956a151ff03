"""Half of a character, a lone surrogate, wherever a text goes through."""

import json

import pytest

from dcf import errors
from dcf.model.replica import ReplicaState
from dcf.protocol.problem import error_of, from_problem, to_problem
from dcf.protocol.progress import Progress, ProgressKind
from dcf.protocol.report import Report
from dcf.protocol.stream import StreamFailure, failure_control
from dcf.protocol.text import has_half_characters, json_bytes, whole_text

HALVES = ["\ud800", "\udfff", "bad \udcff", "\udc00\ud83d", "a" * 1000 + "\udbff"]
WHOLE = ["", "plain", "한국어", "\U0001f600", "\x00\x1f\x7f", "\ufffd", "\uffff"]


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_text_stays_as_it_is(text):
    assert whole_text(text) == text
    assert json.loads(json_bytes({text: [text]})) == {text: [text]}
    assert not has_half_characters({text: [text]})


@pytest.mark.parametrize("text", HALVES)
def test_half_of_a_character_becomes_a_question_mark(text):
    expected = "".join(
        "?" if "\ud800" <= character <= "\udfff" else character for character in text
    )
    assert whole_text(text) == expected
    assert json.loads(json_bytes({text: [text]})) == {expected: [expected]}
    assert has_half_characters({text: 1})
    assert has_half_characters([{"a": [text]}])


@pytest.mark.parametrize("text", HALVES)
def test_every_document_and_report_takes_it(text):
    expected = whole_text(text)
    error = errors.HandlerRaised(text, text, text)
    back = from_problem(500, to_problem(error, text))
    assert isinstance(back, errors.HandlerRaised)
    assert (str(back), back.exception, back.traceback) == (expected,) * 3
    assert (
        json.loads(failure_control(StreamFailure(error)).encode())["problem"]["detail"] == expected
    )
    line = Progress(ProgressKind.FAILED, detail=text, problem={"detail": text}).to_line()
    assert Progress.from_line(line).problem == {"detail": expected}
    unknown = errors.FunctionNotFound("no", [text])
    assert json.loads(to_problem(unknown))["near"] == [expected]


@pytest.mark.parametrize("text", HALVES)
def test_a_report_or_document_from_elsewhere_is_read_without_it(text):
    report = Report.from_line(Report(ReplicaState.FAILED, detail=text, traceback=text).to_line())
    assert (report.detail + report.traceback).encode()
    expected = whole_text(text)
    foreign = error_of({"error": "FunctionNotFound", "detail": text, "near": [text]})
    assert isinstance(foreign, errors.FunctionNotFound)
    assert (str(foreign), foreign.near) == (expected, (expected,))
