"""Rollbacks, promotions and aborts: what is sent, and what is waited for."""

import json
from dataclasses import replace

import pytest

from dcf import errors
from dcf.client import rollout_workflow
from dcf.model.status import Failure, FunctionState, ReplicaStatus
from dcf.protocol.gateway import members_of
from unit.client.test_management import HELLO

OLD, NEW = (ReplicaStatus(f"hello-{number}", number, "ready", 3.0) for number in (1, 2))
ASKED = replace(
    HELLO,
    state=FunctionState.DEPLOYING,
    failure=Failure(9.0, "long ago"),
    updated=10.0,
    replica_list=(OLD,),
)
DONE = replace(ASKED, state=FunctionState.READY, serving=2, replica_list=(NEW,))


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(rollout_workflow, "POLL_INTERVAL", 0.01)


def answer(peer, found):
    received = peer.request()
    if isinstance(found, errors.DcfError):
        peer.refuse(found)
    else:
        peer.reply(json.dumps(members_of(found)).encode())
    return received


def conversation(server, *looks):
    """Answers the first request, then the looks; tells what was asked first."""

    def talk(peer):
        received = answer(peer, looks[0])
        server.happened.put((received.method, received.target, received.json()))
        for found in looks[1:]:
            assert answer(peer, found).target == "/system/function/hello"

    return talk


@pytest.mark.parametrize(
    ("operation", "path", "sent"),
    [
        (("rollback", "hello"), "rollback", {"revision": None}),
        (("rollback", "hello", 1), "rollback", {"revision": 1}),
        (("promote", "hello"), "promote", {}),
        (("abort", "hello"), "abort", {}),
    ],
)
def test_it_ends_when_the_revision_takes_all_calls(client, server, operation, path, sent):
    name, *arguments = operation
    started = replace(DONE, replica_list=(OLD, NEW))
    drained = replace(DONE, replica_list=(replace(OLD, state="draining"), NEW))
    server.play(conversation(server, ASKED, ASKED, errors.NotReady("away"), started, drained))

    assert getattr(client, name)(*arguments) == drained
    assert server.happened.get(timeout=5) == ("POST", f"/system/function/hello/{path}", sent)


@pytest.mark.parametrize(
    "found",
    [
        DONE,
        replace(ASKED, state=FunctionState.IDLE, replicas=0),
        replace(ASKED, revision=3),
        replace(ASKED, canary=3, share=5.0),
    ],
    ids=["it serves", "nobody is wanted", "replaced", "a canary has come"],
)
def test_there_may_be_nothing_left_to_wait_for(client, server, found):
    server.play(conversation(server, ASKED, found))

    assert client.rollback("hello") == found


def test_who_does_not_wait_gets_what_is(client, server):
    server.play(conversation(server, ASKED))

    assert client.promote("hello", wait=False) == ASKED


def test_what_serves_already_is_not_looked_at_again(client, server):
    server.play(conversation(server, DONE))

    assert client.rollback("hello") == DONE


def test_a_start_that_fails_raises_the_traceback_of_the_new_failure_alone(client, server):
    failure = Failure(11.0, "no weights", "HandlerInitFailed", "Traceback ...")
    before = replace(ASKED, state=FunctionState.NOT_READY)
    server.play(conversation(server, ASKED, before, replace(before, failure=failure)))

    with pytest.raises(errors.HandlerInitFailed, match="no weights") as caught:
        client.rollback("hello")
    assert caught.value.traceback == "Traceback ..."


def test_it_is_not_waited_for_without_end(client, server):
    server.play(conversation(server, ASKED, ASKED))

    with pytest.raises(errors.StartTimeout, match="hello was not ready within 0 s"):
        client.abort("hello", timeout=0)


def test_a_refusal_comes_back_as_itself(client, server):
    server.play(conversation(server, errors.RolloutInvalid("hello has no canary")))

    with pytest.raises(errors.RolloutInvalid, match="hello has no canary"):
        client.promote("hello")
