"""The commands that change what serves: revisions, rollback, promote, abort, scale, delete."""

from __future__ import annotations

import json
import re

import pytest

from dcf.cli.exit_codes import ExitCode
from dcf.cli.main import run
from dcf.errors import (
    FunctionNotFound,
    RolloutInvalid,
)
from dcf.model.status import Failure, FunctionState, RevisionStatus
from dcf.protocol.gateway import members_of
from unit.cli.scripted import Reply, status

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


# revisions, rollback, promote, abort


REVISIONS = [
    members_of(RevisionStatus(12, "sha256:cc", NOW, current=False, share=10.0)),
    members_of(RevisionStatus(2, "sha256:bb", NOW, current=True)),
    members_of(RevisionStatus(1, "sha256:aa", NOW, current=False)),
]


def test_revisions_are_listed_with_what_they_serve(dcf, gateway):
    gateway.answer("GET", "/system/function/f/revisions", REVISIONS)

    lines = [re.split("  +", line) for line in dcf("function", "revisions", "f").text.splitlines()]

    assert lines[0] == ["Number", "Artifact", "Age", "Serves"]
    assert [(line[0], line[3:]) for line in lines[1:]] == [
        ("12", ["canary, 10 %"]),
        ("2", ["current"]),
        ("1", []),
    ]
    assert json.loads(dcf("function", "revisions", "f", "--json").out) == REVISIONS


@pytest.mark.parametrize(
    ("arguments", "path", "sent", "says"),
    [
        (("rollback", "f"), "rollback", {"revision": None}, "f: back to revision 1"),
        (("rollback", "f", "1"), "rollback", {"revision": 1}, "f: back to revision 1"),
        (("promote", "f"), "promote", {}, "f: revision 1 takes all calls"),
        (("abort", "f"), "abort", {}, "f: revision 1 takes all calls"),
    ],
)
def test_another_revision_is_waited_for(dcf, gateway, arguments, path, sent, says):
    asked = status("f", state=FunctionState.DEPLOYING, serving=2)
    gateway.answer("POST", f"/system/function/f/{path}", asked)
    gateway.answer("GET", "/system/function/f", asked, status("f"))

    done = dcf("function", *arguments)

    assert (done.code, done.out) == (0, b"")
    assert done.err.startswith("  start: 1 of 1 replicas ready (")
    assert done.err.splitlines()[-1] == says
    assert gateway.asked[0].members == sent
    assert len(gateway.asked) == 3


def test_without_waiting_it_is_only_asked_for(dcf, gateway):
    asked = status("f", state=FunctionState.DEPLOYING, serving=2)
    gateway.answer("POST", "/system/function/f/rollback", asked)

    assert dcf("function", "rollback", "f", "--no-wait").err == "f: back to revision 1\n"
    assert len(gateway.asked) == 1


def test_a_revision_that_cannot_start_shows_its_traceback_and_who_goes_on(dcf, gateway):
    failure = Failure(NOW, "the constructor raised", "HandlerInitFailed", "Traceback: no model")
    asked = status("f", state=FunctionState.DEPLOYING, serving=2, updated=NOW)
    broken = status(
        "f", state=FunctionState.NOT_READY, serving=2, updated=NOW, failure=failure, ready=0
    )
    gateway.answer("POST", "/system/function/f/rollback", asked)
    gateway.answer("GET", "/system/function/f", broken)

    done = dcf("function", "rollback", "f", "1")

    assert done.code == ExitCode.START
    assert "Traceback: no model" in done.err
    assert "Revision 2 keeps serving." in done.err


def test_a_rollout_is_not_waited_for_without_end(dcf, gateway):
    asked = status("f", state=FunctionState.DEPLOYING, serving=2)
    gateway.answer("POST", "/system/function/f/promote", asked)
    gateway.answer("GET", "/system/function/f", asked)

    done = dcf("function", "promote", "f", "--timeout", "0.05")

    assert done.code == ExitCode.TIMEOUT
    assert "f was not ready within 0.05 s" in done.err


def test_what_has_nothing_to_act_on_is_told_with_what_to_do(dcf, gateway):
    gateway.answer("POST", "/system/function/f/abort", RolloutInvalid("f has no canary"))

    done = dcf("function", "abort", "f")

    assert done.code == ExitCode.PROJECT
    assert "f has no canary" in done.err
    assert "dcf-cli function revisions" in done.err


def test_a_revisions_number_is_counted_from_1(dcf, gateway):
    assert dcf("function", "rollback", "f", "0").code == ExitCode.USAGE
    assert dcf("function", "rollback", "f", "one").code == ExitCode.USAGE
    assert gateway.asked == []


def test_the_shell_completes_revisions(gateway, home, monkeypatch, capfdbinary):
    gateway.answer("GET", "/system/function/f/revisions", REVISIONS)
    monkeypatch.setenv("_DCF_CLI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dcf-cli function rollback f 1")
    monkeypatch.setenv("COMP_CWORD", "4")

    with pytest.raises(SystemExit):
        run([])

    assert capfdbinary.readouterr().out == b"plain,12\nplain,1\n"


# scale and delete


def test_scale_tells_the_change(dcf, gateway):
    gateway.answer("GET", "/system/function/f", status("f", replicas=1))
    gateway.answer("PUT", "/system/scale-function", status("f", replicas=3))

    assert dcf("function", "scale", "f", "3").err == "Replicas of f: 1 to 3\n"
    assert gateway.asked[-1].members == {"name": "f", "replicas": 3}


def test_scale_has_a_function_scale_by_itself_again(dcf, gateway):
    gateway.answer("GET", "/system/function/f", status("f", replicas=3))
    gateway.answer("PUT", "/system/scale-function", status("f", replicas=3, minimum=1, maximum=5))

    done = dcf("function", "scale", "f", "--auto")

    assert done.err == "Replicas of f: 3, unchanged; autoscaling from 1 to 5\n"
    assert gateway.asked[-1].members == {"name": "f", "replicas": None}


@pytest.mark.parametrize("given", [[], ["3", "--auto"], ["0", "--auto"]])
def test_scale_wants_a_number_or_auto(dcf, gateway, given):
    done = dcf("function", "scale", "f", *given)

    assert done.code == ExitCode.USAGE
    assert "expected either a number of replicas or --auto" in done.err


def test_delete_tells_each_and_stops_at_what_is_not_there(dcf, gateway):
    gateway.answer("DELETE", "/system/function/a", Reply(status=204))
    gateway.answer("DELETE", "/system/function/helo", FunctionNotFound("no helo", ["hello"]))

    done = dcf("function", "delete", "a", "helo", "b")

    assert done.code == ExitCode.PROJECT
    assert done.err.startswith("Deleted a.\n")
    assert "Did you mean hello?" in done.err
