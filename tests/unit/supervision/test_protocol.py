"""The lines on the supervisor's socket are written and read."""

import json

import pytest

from dcf import errors
from dcf.errors import ProcessUnknown, RequestInvalid, SupervisorError, SupervisorUnreachable
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import (
    ExitRecord,
    List,
    LogBound,
    Logs,
    Observe,
    ProcessEvent,
    ProcessEventKind,
    ProcessSpec,
    ProcessStatus,
    Shutdown,
    Start,
    Stop,
)
from dcf.supervision.protocol import (
    END_LINE,
    error_line,
    event_of,
    item_line,
    members_of,
    read_reply,
    read_request,
    request_line,
    status_of,
)
from dcf.supervision.states import ProcessState

PLAIN = ProcessSpec("a", ("x",), {}, "/")
FULL = ProcessSpec(
    name="a.b-c_1",
    command=("x", "--y", "\N{GREEK SMALL LETTER PI}"),
    env={"A": "1", "B": "\n"},
    cwd="/",
    restart=RestartPolicy(first=0.5, limit=None),
    lifeline=True,
    reports=True,
    sockets=("/s",),
    stage=-3,
    log=LogBound(7, 2),
    note='{"x": 1}',
)
EXIT = ExitRecord(-9, 5.5, "killed", '{"state": "ready"}', asked=True)


@pytest.mark.parametrize(
    "request_",
    [
        Start(PLAIN),
        Start(FULL),
        Stop("a", 2.5),
        List(),
        Observe(),
        Logs("a"),
        Logs("a", 5.0, 10, follow=True),
        Shutdown(0.0),
    ],
)
def test_requests_are_read_back(request_):
    line = request_line(request_)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_request(line) == request_


@pytest.mark.parametrize(
    "status",
    [
        ProcessStatus("a", ProcessState.WAITING),
        ProcessStatus("a", ProcessState.CRASH_LOOP, 7, 1.0, 3, ("x", "y"), EXIT, "n"),
    ],
)
def test_statuses_are_read_back(status):
    item = read_reply(item_line({"status": members_of(status)}))
    assert item is not None
    assert status_of(item["status"]) == status


@pytest.mark.parametrize(
    "event",
    [
        ProcessEvent(ProcessEventKind.STARTED, "a", 1.0, pid=7),
        ProcessEvent(ProcessEventKind.EXITED, "a", 1.0, exit=EXIT),
        ProcessEvent(ProcessEventKind.RESTARTING, "a", 1.0, delay=0.1),
    ],
)
def test_events_are_read_back(event):
    item = read_reply(item_line({"event": members_of(event)}))
    assert item is not None
    assert event_of(item["event"]) == event


def test_replies_end_or_fail():
    assert read_reply(END_LINE) is None
    with pytest.raises(ProcessUnknown, match="no b"):
        read_reply(error_line(ProcessUnknown("no b")))
    for strange in (b"", b"hello\n", b"[]\n", b"{}\n", b'{"error": "Exception"}\n'):
        with pytest.raises(SupervisorUnreachable):
            read_reply(strange)


def test_every_error_of_a_request_keeps_its_class():
    kinds: list[type[SupervisorError]] = [SupervisorError, *SupervisorError.__subclasses__()]
    kinds.remove(errors.SupervisorRunning)
    for kind in kinds:
        with pytest.raises(kind) as caught:
            read_reply(error_line(kind("why")))
        assert type(caught.value) is kind


@pytest.mark.parametrize(
    "change",
    [
        {"do": "begin"},
        {"do": None},
        {"name": ""},
        {"name": "a/b"},
        {"name": 7},
        {"command": []},
        {"command": "sleep 9"},
        {"command": ["sleep", 9]},
        {"env": None},
        {"env": {"A": None}},
        {"cwd": None},
        {"lifeline": 1},
        {"sockets": [1]},
        {"stage": True},
        {"stage": 1.5},
        {"restart": "always"},
        {"restart": {"first": -1}},
        {"restart": {"limit": -1}},
        {"restart": {"factor": float("inf")}},
        {"log": {"files": "many"}},
    ],
)
def test_an_invalid_request_is_rejected_without_showing_values(change):
    members = json.loads(request_line(Start(FULL)))
    members["env"]["TOKEN"] = "hunter2"
    line = json.dumps({**members, **change}).encode()
    with pytest.raises(RequestInvalid) as caught:
        read_request(line)
    assert "hunter2" not in str(caught.value)


def test_a_spec_does_not_show_its_environment():
    assert "hunter2" not in repr(Start(ProcessSpec("a", ("x",), {"TOKEN": "hunter2"}, "/")))
