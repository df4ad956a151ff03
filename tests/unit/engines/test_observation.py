"""What the supervisor saw, as states of a replica."""

import pytest

from dcf.engines.local.limits import Limits
from dcf.engines.local.observation import Track, read_note, to_note
from dcf.errors import HandlerInitFailed
from dcf.model.replica import ReplicaExit, ReplicaId, ReplicaState
from dcf.protocol.report import Report
from dcf.supervision.process_messages import ExitRecord, ProcessStatus
from dcf.supervision.states import ProcessState

ID = ReplicaId("a-1")
READY = Report(ReplicaState.READY, endpoint="unix:/x").to_line().decode().strip()
DRAINING = Report(ReplicaState.DRAINING).to_line().decode().strip()
STUCK = Report(ReplicaState.EXITED, detail="the handler is stuck").to_line().decode().strip()
FAILED = Report.failed(HandlerInitFailed("it raised", "Traceback: x")).to_line().decode().strip()


def _exited(code: int, *, asked: bool = False) -> ExitRecord:
    return ExitRecord(code, 6.0, f"code {code}", "", asked)


def test_a_whole_life():
    track = Track(ID)
    assert track.reported(READY, 5.0)
    assert (track.seen.state, track.seen.endpoint) == (ReplicaState.READY, "unix:/x")
    assert track.reported(DRAINING, 5.0)
    assert (track.seen.state, track.seen.endpoint) == (ReplicaState.DRAINING, "unix:/x")
    assert track.exited(_exited(0, asked=True))
    assert track.seen.exit == ReplicaExit(0, 6.0, "code 0", asked=True)
    assert not track.exited(_exited(0))


def test_a_failed_start_keeps_its_reason_to_the_end():
    track = Track(ID)
    assert track.reported(FAILED, 5.0)
    assert track.seen.exit == ReplicaExit(
        None, 5.0, "it raised", "HandlerInitFailed", "Traceback: x"
    )
    assert track.exited(_exited(70))
    assert track.seen.exit == ReplicaExit(70, 6.0, "it raised", "HandlerInitFailed", "Traceback: x")


def test_an_end_that_is_announced_is_seen_when_it_comes():
    track = Track(ID)
    track.reported(READY, 5.0)
    assert not track.reported(STUCK, 5.0)
    assert track.seen.state is ReplicaState.READY
    assert track.exited(_exited(75))
    assert track.seen.exit is not None
    assert track.seen.exit.reason == "the handler is stuck"


def test_a_kill_from_outside_names_its_usual_cause():
    track = Track(ID)
    track.exited(_exited(-9))
    assert track.seen.exit is not None
    assert "memory runs out" in track.seen.exit.reason
    track = Track(ID)
    track.exited(_exited(-9, asked=True))
    assert track.seen.exit is not None
    assert "memory" not in track.seen.exit.reason


@pytest.mark.parametrize("line", ["", "hello", "7", "[]", "{}", '{"state": "odd"}', '"x"', "[1]"])
def test_other_lines_are_passed_over(line):
    track = Track(ID)
    assert not track.reported(line, 5.0)
    assert track.seen.state is ReplicaState.STARTING


def test_found_again_from_what_the_supervisor_remembers():
    running = ProcessStatus("x", ProcessState.RUNNING, 7, 1.0, 1, ("noise", READY))
    assert Track.of(ID, running).seen.endpoint == "unix:/x"
    drained = ProcessStatus("x", ProcessState.STOPPING, 7, 1.0, 1, (READY, DRAINING))
    assert Track.of(ID, drained).seen.state is ReplicaState.DRAINING
    exit_ = ExitRecord(70, 6.0, "code 70")
    ended = ProcessStatus("x", ProcessState.EXITED, 7, 1.0, 1, (FAILED,), exit_)
    seen = Track.of(ID, ended).seen
    assert (seen.state, seen.exit and seen.exit.error) == ("failed", "HandlerInitFailed")


def test_limits_are_told_and_explain_the_end():
    confinement = Limits(memory=512 << 20, memory_by="cgroup v1")
    status = ProcessStatus("x", ProcessState.RUNNING, 7, note=confinement.to_note())
    track = Track.of(ID, status)
    assert track.seen.limits == ("memory: 512 MiB (cgroup v1)",)
    track.exited(_exited(-9), "it went over its limit")
    assert track.seen.exit is not None
    assert track.seen.exit.reason == "code -9: it went over its limit"
    assert track.seen.limits


STARTING = Report(ReplicaState.STARTING).to_line().decode().strip()


@pytest.mark.parametrize(
    "line",
    [
        "[" * 10_000,
        '{"state": "failed", "error": {"a": 1}, "detail": 5}',
        '{"state": "ready", "endpoint": 5}',
        '{"state": "ready", "endpoint": "unix:/other"}',
        '{"state": "ready", "endpoint": "tcp:10.0.0.1:80"}',
        "",
    ],
)
def test_a_bad_report_fails_a_replica_that_starts(line):
    track = Track(ID, listen="unix:/x")
    assert not track.reported(STARTING, 4.0)
    assert track.reported(line, 5.0)
    assert track.seen.state is ReplicaState.FAILED
    assert track.seen.exit is not None
    assert track.fault.startswith("it sent an invalid report: ")
    assert track.seen.exit.reason == track.fault
    assert not track.reported(READY, 6.0), "none of its further reports counts"
    track.exited(_exited(-9))
    assert track.seen.exit.reason == track.fault


def test_a_bad_report_takes_a_ready_replica_out_of_service():
    track = Track(ID, listen="unix:/x")
    track.reported(STARTING, 4.0)
    track.reported(READY, 5.0)
    assert track.reported(READY, 6.0)
    assert (track.seen.state, track.seen.endpoint) == (ReplicaState.DRAINING, "unix:/x")
    track.exited(_exited(-9))
    assert track.seen.exit is not None
    assert "ready cannot follow ready" in track.seen.exit.reason
    assert not track.seen.exit.asked


@pytest.mark.parametrize(
    ("listen", "endpoint", "own"),
    [
        ("unix:/x", "unix:/x", True),
        ("unix:/x", "unix:/x/../y", False),
        ("tcp:127.0.0.1:0", "tcp:127.0.0.1:4711", True),
        ("tcp:127.0.0.1:0", "tcp:127.0.0.2:4711", False),
        ("tcp:127.0.0.1:0", "unix:/x", False),
        ("tcp:127.0.0.1:80", "tcp:127.0.0.1:80", True),
        ("tcp:127.0.0.1:80", "tcp:127.0.0.1:81", False),
    ],
)
def test_a_replica_takes_calls_only_where_it_was_told_to_listen(listen, endpoint, own):
    track = Track(ID, listen=listen)
    line = Report(ReplicaState.READY, endpoint=endpoint).to_line().decode()
    assert track.reported(line, 5.0)
    assert (track.seen.state is ReplicaState.READY) is own


def test_what_lies_in_wait_is_found_when_the_past_is_read():
    note = to_note(Limits(), "unix:/x")
    reports = (STARTING, READY, '{"state": "ready", "endpoint": 5}')
    track = Track.of(ID, ProcessStatus("x", ProcessState.RUNNING, 7, reports=reports, note=note))
    assert track.fault
    assert track.seen.state is ReplicaState.DRAINING


@pytest.mark.parametrize("note", ["[" * 10_000, "5", '{"cores": 5}', '{"memory": "x"}', "\0"])
def test_a_note_that_cannot_be_read_is_none(note):
    assert read_note(note) == (Limits(), "")
