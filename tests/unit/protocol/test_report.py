"""Reports come from a process that runs the author's code: nothing in them is believed unseen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcf.errors import HandlerInitFailed
from dcf.model.replica import ReplicaState
from dcf.protocol.json_text import read_json
from dcf.protocol.report import TEXT_LIMIT, Report, ReportInvalid, ReportReader
from dcf.supervision.reports import LINE_LIMIT

STARTING = Report(ReplicaState.STARTING).to_line()
READY = Report(ReplicaState.READY, endpoint="unix:/x").to_line()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"1" * 5_000,
        b"NaN",
        b'{"state": "ready", "endpoint": "unix:/x", "detail": NaN}',
        b'{"state": "ready", "endpoint": "unix:/x", "at": 1e999}',
        b'{"state": "ready"}',
        b'{"state": 5}',
        b'{"state": ["ready"]}',
        b'{"state": "odd"}',
        b'{"state": null, "detail": ""}',
        b'{"state": "draining", "detail": 5}',
        b'{"state": "draining", "detail": null}',
        b'{"state": "failed", "error": {"a": 1}}',
        b'{"state": "failed", "error": "a.b"}',
        b'{"state": "failed", "error": "' + b"E" * 100 + b'"}',
        b'{"state": "failed", "traceback": []}',
        b'{"state": "ready", "endpoint": 5}',
        b'{"state": "ready", "endpoint": ""}',
        b'{"state": "ready", "endpoint": "/x"}',
        b'{"state": "ready", "endpoint": "unix:"}',
        b'{"state": "ready", "endpoint": "unix:/a\\u0000b"}',
        b'{"state": "ready", "endpoint": "unix:/a\\nb"}',
        b'{"state": "ready", "endpoint": "tcp:127.0.0.1"}',
        b'{"state": "ready", "endpoint": "tcp:127.0.0.1:0"}',
        b'{"state": "ready", "endpoint": "tcp:127.0.0.1:65536"}',
        b'{"state": "ready", "endpoint": "tcp:127.0.0.1:\\u0661"}',
        b'{"state": "ready", "endpoint": "tcp::80"}',
        b'{"state": "ready", "endpoint": "tcp:a b:80"}',
    ],
)
def test_what_is_not_a_report_is_one_kind_of_error(line):
    with pytest.raises(ValueError):  # noqa: PT011  whatever it says
        Report.from_line(line)
    reader = ReportReader()
    reader.read(STARTING)
    with pytest.raises(ReportInvalid):
        reader.read(line)


def test_half_surrogates_are_told_and_can_be_written_down():
    report = Report.failed(HandlerInitFailed("bad \udcff", "tr\ud800ace"))
    read = Report.from_line(report.to_line())
    assert (read.detail, read.traceback) == ("bad \\udcff", "tr\\ud800ace")


def test_a_report_fits_a_line_whatever_was_raised():
    report = Report.failed(HandlerInitFailed("\U0001f600" * 10**6, "\udcff" * 10**6 + "the end"))
    line = report.to_line()
    assert len(line) < LINE_LIMIT
    assert Report.from_line(line).traceback.endswith("the end")
    assert len(Report.from_line(line).detail) == TEXT_LIMIT


def test_what_the_interpreter_prints_before_the_first_report_is_passed_over():
    reader = ReportReader()
    assert reader.read(b"hello") is None
    assert reader.read(b"[" * 10_000) is None
    first = reader.read(STARTING)
    assert first is not None
    assert first.state is ReplicaState.STARTING


@pytest.mark.parametrize(
    "states",
    [
        ["starting", "starting"],
        ["starting", "failed", "draining"],
        ["starting", "draining", "failed"],
        ["starting", "exited", "draining"],
        ["draining", "starting"],
    ],
)
def test_states_out_of_order_are_invalid(states):
    reader = ReportReader()
    *before, last = [json.dumps({"state": state}) for state in states]
    for line in before:
        reader.read(line)
    with pytest.raises(ReportInvalid, match="cannot follow"):
        reader.read(last)


def test_ready_twice_is_invalid():
    reader = ReportReader()
    reader.read(READY)
    with pytest.raises(ReportInvalid, match="ready cannot follow ready"):
        reader.read(READY)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(["state", "endpoint", "error", "detail", "traceback"])
_STATES = st.sampled_from([str(state) for state in ReplicaState])


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.dictionaries(_NAMES, _JSON | _STATES).map(lambda members: json.dumps(members).encode())
)
def test_any_line_is_a_whole_report_or_a_value_error(line):
    try:
        report = Report.from_line(line)
    except ValueError:
        return
    assert Report.from_line(report.to_line()) == report
    for text in (report.endpoint, report.error, report.detail, report.traceback):
        text.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[]{}":,0123456789.eENaInfity -', max_size=60) | st.binary(max_size=60))
def test_any_text_is_json_or_a_value_error(text):
    try:
        value = read_json(text)
    except ValueError:
        return
    json.dumps(value, allow_nan=False)
