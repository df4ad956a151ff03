"""Reports of a watcher to its parent: a line each, on a pipe that the author's code can
write to."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dcf.errors import StartError
from dcf.model.replica import ReplicaState
from dcf.protocol.report import Report
from property.kit import DEEP, JSON, NUMBERS, TEXTS, members

ENDPOINTS = st.sampled_from([
    "unix:/run/a.sock", "tcp:127.0.0.1:80", "tcp:[::1]:80", "unix:", "tcp:x:99999", "fd:3", "tcp:1",
])  # fmt: skip
WRITTEN = members(
    state=st.sampled_from([*map(str, ReplicaState), "x"]),
    endpoint=ENDPOINTS,
    error=st.sampled_from(["HandlerInitFailed", "ValueError", "a b", "__class__"]),
    detail=TEXTS,
    traceback=TEXTS,
    other=NUMBERS,
)


@given(
    st.binary(max_size=40) | DEEP | (WRITTEN | JSON).map(lambda value: json.dumps(value).encode())
)
def test_a_line_is_a_report_of_texts_or_rejected(line):
    try:
        report = Report.from_line(line)
    except ValueError:
        return
    assert type(report.state) is ReplicaState
    for text in (report.endpoint, report.error, report.detail, report.traceback):
        assert type(text) is str
        text.encode()
    assert isinstance(report.to_error(), StartError)
    assert Report.from_line(report.to_line()) == report


@given(
    st.builds(
        Report,
        st.sampled_from(ReplicaState),
        endpoint=st.sampled_from(["unix:/run/a.sock", "tcp:127.0.0.1:80"]),
        error=st.sampled_from(["", "HandlerInitFailed"]),
        detail=st.text(max_size=20),
        traceback=st.text(max_size=20),
    )
)
def test_a_report_is_parsed_to_what_was_sent(report):
    line = report.to_line()
    assert line.count(b"\n") == 1
    assert Report.from_line(line) == report
