"""The commands that ask a gateway, and what people are told."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode
from dcf.cli.main import run
from dcf.errors import (
    AccessDenied,
    FunctionNotFound,
    HandlerRaised,
    NotReady,
)
from dcf.model.event import Event, EventKind
from dcf.model.status import Failure, FunctionState, ReplicaLine, ReplicaStatus, RevisionStatus
from dcf.protocol.gateway import JSON_LINES, members_of
from dcf.protocol.http import TEXT
from unit.cli.scripted import Reply, status

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


# Which gateway, which function


def test_nobody_at_the_address_is_told_with_what_to_do(dcf):
    done = dcf("function", "list", "-g", "127.0.0.1:9")

    assert done.code == ExitCode.GATEWAY
    assert "no gateway answers at http://127.0.0.1:9" in done.err
    assert "dcf-cli gateway start" in done.err


def test_the_option_wins_over_the_environment_and_that_over_the_config(
    dcf, gateway, home, monkeypatch
):
    (home / "config.yaml").write_text("functions: {f: {}}\ndcf: {gateway: '127.0.0.1:9'}\n")
    gateway.answer("GET", "/system/functions", [status("f")])

    assert dcf("function", "ls", "-q").text == "f\n"
    assert "127.0.0.1:7" in dcf("function", "ls", "-g", "127.0.0.1:7").err
    monkeypatch.delenv("DCF_GATEWAY")
    assert "127.0.0.1:9" in dcf("function", "ls").err


def test_a_config_that_is_none_of_ours_names_no_gateway(dcf, home):
    (home / "config.yaml").write_text("title: my pages\n")

    assert "answers at http://127.0.0.1:" in dcf("function", "ls").err


def test_a_config_with_a_wrong_address_is_an_error_and_not_passed_over(dcf, home):
    (home / "config.yaml").write_text("functions: {f: {}}\ndcf: {gateway: 'no address'}\n")

    done = dcf("function", "delete", "f")

    assert done.code == ExitCode.PROJECT
    assert "config.yaml:2:" in done.err


def test_the_token_of_the_file_is_sent(dcf, gateway, home):
    (home / "token").write_text("secret-token\n")
    gateway.answer("GET", "/system/functions", [])

    dcf("function", "list", "--token-file", "token")

    assert gateway.asked[-1].headers["authorization"] == "Bearer secret-token"


def test_an_empty_token_file_is_told(dcf, gateway, home):
    (home / "token").write_text("\n")

    done = dcf("function", "list", "--token-file", "token")

    assert done.code == ExitCode.USAGE
    assert "token, got an empty or unreadable file" in done.err


def test_a_refused_token_is_told_with_what_to_do(dcf, gateway):
    gateway.answer("DELETE", "/system/function/f", AccessDenied("a token is wanted"))

    done = dcf("function", "delete", "f")

    assert done.code == ExitCode.GATEWAY
    assert "--token-file" in done.err


@pytest.mark.parametrize("given", [[], ["./"], ["../home/"]])
def test_a_function_may_be_named_by_its_folder(dcf, gateway, home, given):
    (home / "config.yaml").write_text("functions: {hello: {}}\n")
    gateway.answer("POST", "/function/hello", Reply(b"Hi", media_type=TEXT))

    assert dcf("function", "call", *given).out == b"Hi"


def test_a_name_that_can_be_none_is_told_before_anything_is_asked(dcf, gateway):
    done = dcf("function", "info", "Bad_Name")

    assert done.code == ExitCode.PROJECT
    assert gateway.asked == []


def test_the_shell_completes_deployed_names(gateway, home, monkeypatch, capfdbinary):
    gateway.answer("GET", "/system/functions", [status("alpha"), status("beta")])
    monkeypatch.setenv("_DCF_CLI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dcf-cli function call a")
    monkeypatch.setenv("COMP_CWORD", "3")

    with pytest.raises(SystemExit):
        run([])

    assert capfdbinary.readouterr().out == b"plain,alpha\n"


def test_a_gateway_that_is_away_completes_nothing(home, monkeypatch, capfdbinary):
    monkeypatch.setenv("DCF_GATEWAY", "127.0.0.1:9")
    monkeypatch.setenv("_DCF_CLI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dcf-cli function call a")
    monkeypatch.setenv("COMP_CWORD", "3")

    with pytest.raises(SystemExit):
        run([])

    assert capfdbinary.readouterr() == (b"\n", b"")


# list


def test_list_has_the_columns_of_the_original(dcf, gateway):
    ready = status("alpha", image="here:5000/alpha", maintainer="Ada", invocations=7, desc="First")
    broken = {"takes_calls": False, "state": FunctionState.CRASH_LOOP, "ready": 0}
    gateway.answer("GET", "/system/functions", [ready, status("beta", **broken)])

    lines = dcf("function", "list").text.splitlines()

    assert lines[0].split() == [
        *("Function", "Image", "Maintainer", "Invocations", "Replicas", "Status", "Description")
    ]
    assert lines[1].split() == ["alpha", "here:5000/alpha", "Ada", "7", "1", "Ready", "First"]
    assert lines[2].split("  ")[0] == "beta"
    assert "sha256:aaaaaaaaaaaa " in lines[2]
    assert lines[2].endswith("Not Ready (crash-loop)")


def test_list_calls_ready_what_starts_with_its_next_call(dcf, gateway):
    gone = {"takes_calls": False, "state": FunctionState.IDLE, "ready": 0, "replicas": 0}
    found = [status("alpha", **gone), status("beta", **gone, by_hand=True)]
    gateway.answer("GET", "/system/functions", found)

    lines = dcf("function", "list").text.splitlines()

    assert lines[1].endswith("  Ready (idle)")
    assert lines[2].endswith("  Not Ready")


def test_list_as_json_is_what_the_gateway_tells(dcf, gateway):
    gateway.answer("GET", "/system/functions", [status("alpha")])

    assert json.loads(dcf("function", "list", "--json").out) == [
        {**status("alpha"), "replica_list": []}
    ]


def test_an_empty_list_says_how_to_deploy(dcf, gateway):
    gateway.answer("GET", "/system/functions", [])

    done = dcf("function", "list")

    assert done.out == b""
    assert "dcf-cli function deploy" in done.err
    assert dcf("function", "list", "--json").text == "[]\n"


# info


@pytest.fixture
def described(gateway):
    """A function of which much is known."""
    replicas = (ReplicaStatus("f-2-x", 2, "ready", NOW, ("memory: 512 MiB (RLIMIT_DATA)",)),)
    failure = Failure(NOW, "the constructor raised", "HandlerInitFailed", "Traceback: no model")
    gateway.answer(
        "GET",
        "/system/function/f",
        status(
            "f",
            revision=2,
            serving=1,
            state=FunctionState.NOT_READY,
            failure=failure,
            replica_list=replicas,
        ),
    )
    revisions = [RevisionStatus(2, "sha256:bb", NOW, current=True)]
    gateway.answer("GET", "/system/function/f/revisions", [members_of(one) for one in revisions])
    event = Event("f", EventKind.START_FAILED, NOW, 2, "key", "f-2-w", "it could not be started")
    gateway.answer("GET", "/system/function/f/events", [members_of(event)])
    return gateway


def test_info_tells_all(dcf, described):
    text = dcf("function", "info", "f").text

    assert f"URL:         {described.url}/function/f\n" in text
    assert "Revision:    2 (not-ready); 1 keeps serving\n" in text
    assert "f-2-x" in text
    assert "memory: 512 MiB (RLIMIT_DATA)" in text
    assert "2027-01-15T08:00:00Z  2         start-failed  f-2-w    it could not be started" in text
    assert text.endswith("ago: the constructor raised\nTraceback: no model\n")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "Scaling:     from 1 to 1"),
        ({"by_hand": True}, "Scaling:     set by hand"),
        (
            {"maximum": 4, "target": 0.5},
            "Scaling:     from 1 to 4, one replica per 0.5 concurrent calls",
        ),
        (
            {"minimum": 0, "idle": 90.0},
            "Scaling:     from 0 to 1; to zero after 90 s without a call",
        ),
        ({"canary": 3, "share": 12.5}, "Canary:      3 (12.5 % of the calls)"),
    ],
)
def test_info_tells_scaling_and_the_canary(dcf, described, more, line):
    described.answer("GET", "/system/function/f", status("f", **more))

    assert line in dcf("function", "info", "f").text.splitlines()


def test_info_as_json_has_everything_in_one_object(dcf, described):
    found = json.loads(dcf("function", "info", "f", "--json").out)

    assert found["url"] == f"{described.url}/function/f"
    assert found["replica_list"][0]["id"] == "f-2-x"
    assert [one["number"] for one in found["revisions"]] == [2]
    assert [one["kind"] for one in found["events"]] == ["start-failed"]


def test_info_without_a_token_tells_what_is_open(dcf, described):
    described.answer("GET", "/system/function/f/revisions", AccessDenied("a token is wanted"))

    done = dcf("function", "info", "f")

    assert done.code == 0
    assert "Events:" not in done.text


def test_an_unknown_function_is_told_with_those_that_resemble_it(dcf, gateway):
    gateway.answer("GET", "/system/function/helo", FunctionNotFound("no helo", ["hello"]))

    done = dcf("function", "info", "helo")

    assert done.code == ExitCode.PROJECT
    assert "Did you mean hello?" in done.err


# call


def test_call_sends_standard_input_and_prints_the_reply_alone(dcf, gateway):
    gateway.answer("POST", "/function/f", lambda asked: Reply(asked.body[::-1]))

    done = dcf("function", "call", "f", "-H", "X-One: 1", input=b"\x00\xff12")

    assert (done.code, done.out, done.err) == (0, b"21\xff\x00", "")
    assert gateway.asked[-1].headers["x-one"] == "1"


def test_call_sends_a_file_with_its_length_and_a_pipe_in_parts(dcf, gateway, home):
    (home / "photo").write_bytes(b"1234")
    gateway.answer("POST", "/function/f", lambda asked: Reply(asked.body))

    assert dcf("function", "invoke", "f", "--input", "photo").out == b"1234"
    assert gateway.asked[-1].headers["content-length"] == "4"
    assert dcf("function", "call", "f", input=b"5678").out == b"5678"
    assert gateway.asked[-1].headers["transfer-encoding"] == "chunked"


def test_call_takes_method_path_and_timeout(dcf, gateway):
    gateway.answer("PUT", "/function/f/sub", Reply(b"ok"))

    done = dcf(
        *("function", "call", "f", "--method", "put", "--path", "/sub?x=1", "--timeout", "5")
    )

    assert done.out == b"ok"
    assert gateway.asked[-1].target == "/function/f/sub?x=1"
    assert gateway.asked[-1].headers["x-dcf-deadline-ms"] == "5000"


@pytest.mark.parametrize("looks", [True, False])
def test_call_reports_on_a_terminal_that_the_function_starts(dcf, gateway, monkeypatch, looks):
    monkeypatch.setattr("dcf.client.waiting.PATIENCE", 0.05)
    monkeypatch.setattr(Console, "is_terminal", looks)
    told = threading.Event()
    monkeypatch.setattr(Console, "print", lambda *_: told.set())

    def call(_asked):
        told.wait(10 if looks else 0.2)
        return Reply(b"late")

    gateway.answer("POST", "/function/f", call)
    gateway.answer("GET", "/system/function/f", status("f", takes_calls=False))

    assert dcf("function", "call", "f").out == b"late"
    assert told.is_set() is looks
    assert len(gateway.asked) == (2 if looks else 1)


def test_call_writes_the_reply_as_it_comes(dcf, gateway, home):
    first_is_here = threading.Event()

    def body():
        yield b"first "
        assert first_is_here.wait(10)
        yield b"second"

    gateway.answer("POST", "/function/f", lambda _asked: Reply(body()))
    pipe = home / "pipe"
    os.mkfifo(pipe)

    def read():
        with pipe.open("rb", buffering=0) as file:
            got.append(file.read(6))
            first_is_here.set()
            got.append(file.read(6))

    got: list[bytes] = []
    reader = threading.Thread(target=read)
    reader.start()
    done = dcf("function", "call", "f", "--reply", pipe)
    reader.join()

    assert done.code == 0
    assert got == [b"first ", b"second"]


def test_call_shows_the_remote_traceback(dcf, gateway):
    raised = HandlerRaised("ValueError: no", "ValueError", "Traceback:\n  handler.py, line 3")
    gateway.answer("POST", "/function/f", raised)

    done = dcf("function", "call", "f")

    assert done.code == ExitCode.CALL
    assert "handler.py, line 3" in done.err


def test_a_status_of_the_handlers_own_is_told_and_its_body_printed(dcf, gateway):
    gateway.answer("POST", "/function/f", Reply(b"teapot", 418, TEXT))

    done = dcf("function", "call", "f")

    assert (done.code, done.out) == (ExitCode.CALL, b"teapot")
    assert "status 418" in done.err


def test_a_missing_input_is_a_wrong_command_line(dcf, gateway):
    done = dcf("function", "call", "f", "--input", "nothing")

    assert done.code == ExitCode.USAGE
    assert "nothing: No such file" in done.err


def test_call_traces_where_the_time_went(dcf, gateway):
    timing = {"server-timing": "queue;dur=1.5, handler;dur=10.25, gateway;dur=12000e-3"}
    gateway.answer("POST", "/function/f", Reply(b"ok", headers={"x-request-id": "r1", **timing}))

    rows = dict(
        line.split(None, 1) for line in dcf("function", "call", "f", "--trace").err.splitlines()
    )

    assert (rows["queue"], rows["handler"], rows["gateway"]) == ("1.50 ms", "10.25 ms", "0.25 ms")
    assert set(rows) == {"queue", "handler", "gateway", "transfer", "total", "request"}
    assert rows["request"] == "r1"


# log


def lines(*found: tuple[float, str, str]) -> bytes:
    records = [members_of(ReplicaLine(*one)) for one in found]
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def test_log_prints_time_replica_and_text(dcf, gateway):
    body = lines((NOW + 0.123, "f-1-a", "loaded"), (NOW + 1, "f-1-b", ""))
    gateway.answer("GET", "/system/function-log/f", Reply(body, media_type=JSON_LINES))

    done = dcf("function", "log", "f", "--tail", "2", "--replica", "f-1-a")

    assert done.text == "2027-01-15T08:00:00.123Z f-1-a loaded\n2027-01-15T08:00:01.000Z f-1-b \n"
    assert "tail=2" in gateway.asked[-1].target
    assert "replica=f-1-a" in gateway.asked[-1].target


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2027-01-15T08:00:00Z", lambda: NOW), ("2h", lambda: time.time() - 7200)],
)
def test_log_takes_a_time_or_a_span(dcf, gateway, text, expected):
    gateway.answer("GET", "/system/function-log/f", Reply(media_type=JSON_LINES))

    dcf("function", "log", "f", "--since", text)

    since = float(gateway.asked[-1].target.partition("since=")[2])
    assert since == pytest.approx(expected(), abs=60)


def test_log_explains_the_times_that_it_takes(dcf, gateway):
    done = dcf("function", "log", "f", "--since", "yesterday")

    assert done.code == ExitCode.USAGE
    assert "10m" in done.err


def test_a_follow_outlives_a_control_plane_without_a_line_twice_or_left_out(
    dcf, gateway, monkeypatch
):
    monkeypatch.setattr("dcf.cli.log_follow.RETRY", 0.01)
    first = lines((NOW, "a", "1"), (NOW, "a", "1"), (NOW + 1, "b", "2"))
    second = lines(
        *((NOW, "a", "1"), (NOW, "a", "1"), (NOW, "a", "1"), (NOW + 0.5, "a", "late")),
        *((NOW + 1, "b", "2"), (NOW + 2, "c", "3")),
    )
    gateway.answer("GET", "/system/function/f", status("f"), NotReady("away"), status("f"),
                   FunctionNotFound("no f"))  # fmt: skip
    gateway.answer(
        "GET",
        "/system/function-log/f",
        Reply(first, media_type=JSON_LINES),
        Reply(second, media_type=JSON_LINES),
    )

    done = dcf("function", "log", "f", "--follow", "--tail", "9")

    shown = [line.partition("Z ")[2] for line in done.text.splitlines()]
    assert shown == ["a 1", "a 1", "b 2", "a 1", "a late", "c 3"]
    asked = [one.target for one in gateway.asked if "function-log" in one.target]
    assert "tail=9" in asked[0]
    assert "tail" not in asked[1]
    assert f"since={NOW}" in asked[1]
    assert "waiting for it" in done.err
    assert done.code == ExitCode.PROJECT
