"""Every function of ``dcf.protocol`` that reads untrusted input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcf import errors
from dcf.errors import BadRequest, DcfError
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, GatewayInfo, MissingBlob, ReplicaLine, RevisionStatus
from dcf.protocol import gateway
from dcf.protocol.http import JSON as JSON_TYPE
from dcf.protocol.problem import error_of, from_problem, problem_members, to_problem
from dcf.protocol.progress import Progress, ProgressKind
from dcf.protocol.stream import (
    CONTROL,
    EVENTS,
    JSON_LINES,
    JSON_LINES_NAMES,
    REASON,
    StreamFailure,
    accepted_format,
    close_code,
    close_reason,
    failure_control,
    media_type,
    read_control,
)
from property.kit import DEEP, JSON, NUMBERS, TEXTS, members

KINDS = [
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, DcfError)
]
DOCUMENTS = members(
    type=TEXTS,
    title=TEXTS,
    status=NUMBERS,
    detail=TEXTS,
    error=st.sampled_from([*KINDS, "Problem", "annotations", "errno"]),
    request_id=TEXTS,
    near=st.lists(JSON, max_size=3),
    names=st.lists(TEXTS, max_size=3),
    path=TEXTS,
    problems=st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS) | JSON, max_size=3),
    name=TEXTS,
    expected=TEXTS,
    output=TEXTS,
    wanted=NUMBERS,
    free=NUMBERS,
    present=NUMBERS,
    traceback=TEXTS,
    offset=NUMBERS,
    limit=NUMBERS,
    exception=TEXTS,
    retry_after=NUMBERS,
)


def texts_of(document: object) -> st.SearchStrategy[bytes]:
    """Return a document as JSON, valid or damaged."""
    data = json.dumps(document).encode()
    return st.just(data) | st.integers(0, len(data)).map(lambda place: data[:place])


# Problem documents


@given(st.integers(100, 599), st.binary(max_size=40) | DEEP | DOCUMENTS.flatmap(texts_of))
def test_every_reply_is_an_error_with_a_message(status, body):
    error = from_problem(status, body)
    assert isinstance(error, DcfError)
    assert str(error)


@given(DOCUMENTS)
def test_a_parsed_error_can_be_sent_again(document):
    error = error_of(document)
    told = json.loads(to_problem(error, "id"))
    assert told["error"] == type(error).__name__
    assert from_problem(told["status"], to_problem(error)).args
    assert isinstance(close_code(error), int)
    assert len(close_reason(error).encode()) <= REASON


@given(DOCUMENTS)
def test_an_error_is_unchanged_after_a_second_transfer(document):
    once = problem_members(error_of(document))
    twice = problem_members(error_of(json.loads(json.dumps(once))))
    assert json.dumps(once) == json.dumps(twice)


# Control messages of a stream


@given(
    st.text(max_size=20).map(CONTROL.__add__)
    | members(
        dcf=st.sampled_from(["end", "error", "x"]), final=st.booleans(), problem=DOCUMENTS
    ).map(json.dumps)
    | DEEP.map(bytes.decode)
)
def test_a_control_message_is_an_end_or_an_error_or_rejected(text):
    try:
        word = read_control(text)
    except BadRequest:
        return
    assert word is None or isinstance(word.error, DcfError)


@given(DOCUMENTS, st.booleans())
def test_an_error_message_is_parsed_to_what_was_sent(document, final):
    error = error_of(document)
    word = failure_control(StreamFailure(error, final), "id")
    assert word.startswith(CONTROL)
    word.encode()
    read = read_control(word)
    assert read is not None
    assert read.final is final
    assert type(read.error) is type(error)


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from([EVENTS, *JSON_LINES_NAMES, "*/*", JSON_TYPE, " ", ",", ";q=0.1", "TEXT/"])
        | st.text(max_size=3),
        max_size=8,
    ).map("".join)
)
def test_accept_names_a_format_or_none(accept):
    assert accepted_format(accept) in {None, EVENTS, JSON_LINES}
    assert media_type(accept) == media_type(media_type(accept))


# Records of a gateway, and progress

RECORDS = {
    gateway.function_of: FunctionStatus,
    gateway.revision_of: RevisionStatus,
    gateway.event_of: Event,
    gateway.line_of: ReplicaLine,
    gateway.missing_blob_of: MissingBlob,
    gateway.info_of: GatewayInfo,
}
FUNCTIONS = members(
    name=TEXTS,
    state=st.sampled_from(["ready", "idle", "x"]),
    failure=members(at=NUMBERS, detail=TEXTS, error=TEXTS),
    replica_list=st.lists(
        members(id=TEXTS, revision=NUMBERS, state=TEXTS, limits=st.lists(TEXTS, max_size=2)),
        max_size=2,
    ),
)


@pytest.mark.parametrize("read", RECORDS, ids=lambda read: read.__name__)
@given(value=JSON | FUNCTIONS | members(kind=TEXTS, name=TEXTS, at=NUMBERS))
def test_a_record_is_parsed_or_rejected_as_documented(read, value):
    try:
        result = read(value)
    except (KeyError, TypeError, ValueError):
        return
    assert isinstance(result, RECORDS[read])


LINES = members(
    kind=st.sampled_from([*map(str, ProgressKind), "x"]),
    step=TEXTS,
    detail=TEXTS,
    seconds=NUMBERS,
    number=NUMBERS,
    is_new=st.booleans(),
    function=FUNCTIONS,
    problem=DOCUMENTS,
)


@given(st.binary(max_size=20) | DEEP | (LINES | JSON).flatmap(texts_of))
def test_a_progress_line_is_parsed_or_rejected_as_documented(line):
    try:
        result = Progress.from_line(line)
    except (KeyError, TypeError, ValueError):
        return
    assert isinstance(result.kind, ProgressKind)
    assert isinstance(result.number, int)
    assert isinstance(error_of(result.problem), DcfError)


@given(
    st.builds(
        Progress,
        st.sampled_from(ProgressKind),
        step=st.text(max_size=9),
        detail=st.text(max_size=9),
        seconds=st.floats(0, 1e9),
        number=st.integers(0, 10**9),
        is_new=st.booleans(),
        problem=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=2),
    )
)
def test_a_progress_line_is_parsed_to_what_was_sent(progress):
    line = progress.to_line()
    assert line.count(b"\n") == 1
    assert Progress.from_line(line) == progress


@given(TEXTS)
def test_a_progress_line_can_be_sent_with_any_text(text):
    progress = Progress(ProgressKind.FAILED, detail=text, problem={"detail": text})
    told = Progress.from_line(progress.to_line())
    assert told.detail == text.encode(errors="replace").decode()
