"""The supervisor's parsers: lines, requests, replies, its state file, logs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dcf.errors import RequestInvalid, SupervisorError
from dcf.supervision import process_messages
from dcf.supervision.identity import Identity
from dcf.supervision.line_splitter import LineSplitter
from dcf.supervision.log_reader import LogReader
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_log import LAST_TIME, file_of, stamp
from dcf.supervision.protocol import (
    error_line,
    event_of,
    item_line,
    members_of,
    read_reply,
    read_request,
    request_line,
    status_of,
)
from dcf.supervision.state_file import StateFile
from dcf.supervision.states import ProcessState
from property.kit import DEEP, FINITE, JSON, NUMBERS, PLACES, TEXTS, members, split

# Lines

OUTPUT = st.lists(
    st.sampled_from([b"\n", b"\r", b"\n\n", "ü".encode(), b"x" * 7]) | st.binary(max_size=5),
    max_size=20,
).map(b"".join)


def lines_of(pieces: list[bytes], limit: int) -> list[bytes]:
    splitter, lines = LineSplitter(limit), list[bytes]()
    for piece in pieces:
        lines += splitter.feed(piece)
        assert sum(map(len, splitter._parts)) <= limit
    return [*lines, splitter.rest()]


@given(OUTPUT, PLACES, st.integers(1, 20))
def test_lines_do_not_depend_on_how_the_bytes_are_split(data, places, limit):
    lines = lines_of([data], limit)
    assert lines_of(split(data, places), limit) == lines
    assert max(map(len, lines)) <= limit
    assert b"".join(lines) == data.replace(b"\n", b"")


# Requests and replies

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
SECONDS = st.floats(0, 1e9)
POLICIES = st.builds(
    RestartPolicy,
    **{each.name: SECONDS for each in fields(RestartPolicy) if each.name != "limit"},
    limit=st.none() | st.integers(0, 9),
)
SPECS = st.builds(
    process_messages.ProcessSpec,
    name=NAMES,
    command=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    env=st.dictionaries(TEXTS, TEXTS, max_size=3),
    cwd=TEXTS,
    restart=st.none() | POLICIES,
    lifeline=st.booleans(),
    reports=st.booleans(),
    sockets=st.lists(TEXTS, max_size=2).map(tuple),
    stage=st.integers(-1000, 1000),
    log=st.builds(process_messages.LogBound, st.integers(1, 10**12), st.integers(1, 9)),
    note=TEXTS,
)
REQUESTS = st.one_of(
    st.builds(process_messages.Start, SPECS),
    st.builds(process_messages.Stop, NAMES, SECONDS),
    st.just(process_messages.List()),
    st.just(process_messages.Observe()),
    st.builds(process_messages.Logs, NAMES, SECONDS, st.none() | st.integers(0, 99), st.booleans()),
    st.builds(process_messages.Shutdown, SECONDS),
)


@given(REQUESTS)
def test_a_request_is_parsed_to_what_was_sent(request):
    line = request_line(request)
    assert line.count(b"\n") == 1
    assert read_request(line) == request


WORDS = members(
    do=st.sampled_from(["start", "stop", "list", "observe", "logs", "shutdown", "x"]),
    name=NAMES,
    grace=NUMBERS,
    since=NUMBERS,
    tail=NUMBERS,
    follow=st.booleans(),
    command=st.lists(TEXTS, min_size=1, max_size=2),
    env=st.dictionaries(TEXTS, TEXTS, max_size=2),
    cwd=TEXTS,
    restart=members(
        limit=NUMBERS, **{e.name: NUMBERS for e in fields(RestartPolicy) if e.name != "limit"}
    ),
    log=members(file_bytes=NUMBERS, files=NUMBERS),
    sockets=st.lists(TEXTS, max_size=2),
    stage=NUMBERS,
)
WRITTEN = (
    st.binary(max_size=30) | DEEP | (WORDS | JSON).map(lambda value: json.dumps(value).encode())
)


@given(WRITTEN)
def test_a_line_is_a_request_or_rejected(line):
    try:
        request = read_request(line)
    except RequestInvalid:
        return
    assert read_request(request_line(request)) == request


@given(
    st.binary(max_size=30)
    | DEEP
    | members(item=JSON, end=st.booleans(), error=TEXTS, detail=TEXTS).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_a_reply_is_an_item_or_its_end_or_an_error(line):
    try:
        item = read_reply(line)
    except SupervisorError:
        return
    assert item is None or isinstance(item, dict)


@given(st.dictionaries(TEXTS, FINITE, max_size=3))
def test_an_item_is_parsed_to_what_was_sent(item):
    line = item_line(item)
    assert line.count(b"\n") == 1
    assert json.dumps(read_reply(line)) == json.dumps(json.loads(json.dumps(item)))


@given(st.sampled_from([SupervisorError, RequestInvalid]), TEXTS)
def test_an_error_is_parsed_to_what_was_sent(kind, detail):
    try:
        read_reply(error_line(kind(detail)))
    except SupervisorError as error:
        assert (type(error), str(error)) == (kind, detail)
    else:
        raise AssertionError("it was raised before")


EXITS = st.builds(
    process_messages.ExitRecord, st.integers(-64, 255), SECONDS, TEXTS, TEXTS, st.booleans()
)


@given(
    st.builds(
        process_messages.ProcessStatus,
        NAMES,
        st.sampled_from(ProcessState),
        pid=st.integers(0, 1 << 22),
        since=SECONDS,
        runs=st.integers(0, 99),
        reports=st.lists(TEXTS, max_size=3).map(tuple),
        exit=st.none() | EXITS,
        note=TEXTS,
    )
)
def test_a_status_is_parsed_to_what_was_sent(status):
    item = read_reply(item_line(members_of(status)))
    assert item is not None
    assert status_of(item) == status


@given(
    st.builds(
        process_messages.ProcessEvent,
        st.sampled_from(process_messages.ProcessEventKind),
        NAMES,
        SECONDS,
        pid=st.integers(0, 1 << 22),
        report=TEXTS,
        exit=st.none() | EXITS,
        delay=SECONDS,
        note=TEXTS,
    )
)
def test_an_event_is_parsed_to_what_was_sent(event):
    item = read_reply(item_line(members_of(event)))
    assert item is not None
    assert event_of(item) == event


# The state file

RECORDS = members(
    mark=TEXTS,
    processes=st.dictionaries(
        TEXTS,
        st.tuples(NUMBERS, TEXTS, TEXTS) | st.lists(JSON, min_size=3, max_size=3) | JSON,
        max_size=3,
    ),
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=40) | DEEP | RECORDS | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_damaged_state_file_counts_as_empty(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record"
        path.write_bytes(data)
        record = StateFile(path)
        assert record.mark.isalnum()
        record.add("one", Identity(1, "2", "3"))
        again = StateFile(path)
        assert again.mark == record.mark
        assert again._living == record._living


# Logs

STORED = st.lists(
    st.tuples(st.floats(0, 2 * LAST_TIME) | st.floats(1e9, 1e9 + 9), st.binary(max_size=9)).map(
        lambda entry: stamp(entry[0]) + b" " + entry[1].replace(b"\n", b"") + b"\n"
    )
    | st.binary(max_size=40)
    | st.sampled_from([b"0001-01-01T00:00:00.000Z\n", b"0001-01-01T00:00:00.000 x\n", b"\n"]),
    max_size=8,
).map(b"".join)


@given(
    st.lists(STORED, max_size=3),
    st.integers(0, 12),
    st.floats(0, 2 * LAST_TIME) | st.floats(1e9, 1e9 + 9),
)
def test_a_log_with_any_content_is_read(contents, tail, since):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for age, data in enumerate(contents):
            file_of(folder, age).write_bytes(data)
        with LogReader(folder) as backlog:
            every = [line for lines in backlog.read() for line in lines]
            last = [line for lines in backlog.read(tail=tail) for line in lines]
            later = [line for lines in backlog.read(since=since) for line in lines]
    whole = [line for data in reversed(contents) for line in data.split(b"\n")[:-1]]
    assert len(every) == len(whole)
    assert last == (every[-tail:] if tail else [])
    assert all(line in every for line in later)
    begin = stamp(since) if since else b""
    assert len(later) == sum(line[: len(begin)] >= begin for line in whole)
