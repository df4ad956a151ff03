"""Deploys, and all that can break off on the way."""

import io
import json
from dataclasses import dataclass, replace

import pytest

from dcf import errors
from dcf.client import deploy_workflow
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.model.function import FunctionSpec
from dcf.model.status import Failure, FunctionState, ReplicaStatus
from dcf.protocol.gateway import members_of
from dcf.protocol.problem import problem_members
from dcf.protocol.progress import Progress, ProgressKind
from unit.client.test_management import HELLO

BLOBS = {digest_of(data): data for data in (b"x" * 600_000, b"two")}
LARGE, SMALL = BLOBS
FILES = (BundleFile("a", LARGE, 600_000), BundleFile("b", SMALL, 3, executable=True))
READY = replace(HELLO, state=FunctionState.READY)


@dataclass
class Build:
    spec: FunctionSpec = FunctionSpec(name="hello", desc="d")  # noqa: RUF009  it is frozen
    bundle: Bundle = Bundle(FILES)  # noqa: RUF009  likewise
    lock: str = "numpy==2\n"

    def open(self, digest):
        return io.BytesIO(BLOBS[digest])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(deploy_workflow, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(deploy_workflow, "RETRY_DELAY", 0.001)


def _announced(peer, **offsets):
    """Answers an announcement; ``offsets`` are what is missing."""
    received = peer.request()
    assert (received.method, received.target) == ("POST", "/system/uploads")
    assert received.json()["lock"] == "numpy==2\n"
    assert received.json()["files"][1] == ["b", SMALL, 3, True]
    digests = {"large": LARGE, "small": SMALL}
    missing = [
        {"digest": digests[name], "size": len(BLOBS[digests[name]]), "offset": offset}
        for name, offset in offsets.items()
    ]
    peer.reply(json.dumps({"bundle": "B", "lock": "L", "missing": missing}).encode())


def _put(peer, digest, offset):
    received = peer.request()
    assert received.method == "PUT"
    assert received.target == f"/system/blobs/{digest}?offset={offset}"
    assert received.body == BLOBS[digest][offset:]
    peer.reply(b'{"offset": 1, "complete": true}')


def _deployed(peer, *progress, end=True):
    received = peer.request()
    assert (received.method, received.target) == ("POST", "/system/functions")
    assert received.headers["accept"] == "application/jsonl"
    peer.stream(*(one.to_line() for one in progress))
    if end:
        peer.send(b"0\r\n\r\n")
    return received.json()


DONE = Progress(ProgressKind.READY, function=READY)
REVISION = Progress(ProgressKind.REVISION, number=2, is_new=True)


def test_only_what_is_missing_is_sent_from_where_it_is_missing(client, server):
    def conversation(peer):
        _announced(peer, large=599_000, small=0)
        _put(peer, LARGE, 599_000)
        _put(peer, SMALL, 0)
        server.happened.put(_deployed(peer, Progress(ProgressKind.PING), REVISION, DONE))

    server.play(conversation)
    told: list[Progress] = []
    given = {"minimum": 1, "annotations": {"a": "b"}, "wait": False, "timeout": 9}
    assert client.deploy(Build(), on_progress=told.append, **given) == READY
    assert server.happened.get(timeout=5) == {
        "spec": {"name": "hello", "desc": "d"},
        "bundle": "B",
        "lock": "L",
        "maximum": None,
        "canary": None,
        **given,
    }
    assert [(one.kind, one.step, one.detail) for one in told] == [
        ("started", "upload", "2 files, 1003 bytes"),
        ("finished", "upload", "2 files, 1003 bytes"),
        ("ping", "", ""),
        ("revision", "", ""),
        ("ready", "", ""),
    ]


def test_what_is_there_already_is_not_told_of(client, server):
    def conversation(peer):
        _announced(peer)
        _deployed(peer, DONE)

    server.play(conversation)
    told: list[Progress] = []
    assert client.deploy(Build(), on_progress=told.append) == READY
    assert told == [DONE]


def test_an_upload_that_breaks_off_goes_on_where_it_was(client, server):
    def first(peer):
        _announced(peer, large=0, small=0)
        peer.request(whole=False)
        peer.reset()

    def second(peer):
        _announced(peer, large=400_000, small=0)
        _put(peer, LARGE, 400_000)
        _put(peer, SMALL, 0)
        _deployed(peer, DONE)

    server.play(first, second)
    assert client.deploy(Build()) == READY


def test_a_blob_that_the_gateway_has_otherwise_is_asked_for_again(client, server):
    def conversation(peer):
        _announced(peer, small=0)
        peer.request()
        peer.refuse(errors.UploadInvalid("2 comes next", 2))
        _announced(peer, small=2)
        _put(peer, SMALL, 2)
        _deployed(peer, DONE)

    server.play(conversation)
    assert client.deploy(Build()) == READY


def test_an_upload_that_comes_no_further_is_given_up(client, server):
    def conversation(peer):
        _announced(peer, large=0)
        peer.request(whole=False)
        peer.reset()

    server.play(*[conversation] * deploy_workflow.MAX_FAILURES)
    with pytest.raises(
        errors.GatewayUnreachable, match="the upload failed 5 times without progress"
    ):
        client.deploy(Build())


def test_a_control_plane_that_is_started_again_meanwhile_is_waited_for(client, server):
    def away(peer):
        peer.request()
        peer.refuse(errors.NotReady("no connection to the control plane"))

    def conversation(peer):
        _announced(peer, small=0)
        away(peer)
        away(peer)
        _announced(peer, small=0)
        _put(peer, SMALL, 0)
        _deployed(peer, REVISION, end=False)

    def second(peer):
        away(peer)
        _looked_at(peer, READY)

    server.play(conversation, second)
    assert client.deploy(Build()) == READY


def test_a_gateway_that_is_not_there_is_told_at_once(face):
    unreachable = pytest.raises(
        errors.GatewayUnreachable, match=r"cannot connect to the gateway at http://127\.0\.0\.1:1: "
    )
    with face("127.0.0.1:1") as client, unreachable:
        client.deploy(Build())


@pytest.mark.parametrize(
    "error",
    [
        errors.PackageNotFound("no such package", "uv: no"),
        errors.HandlerInitFailed("no weights", "Traceback ..."),
        errors.DeadlineExceeded("not ready within 1 s"),
    ],
)
def test_a_deploy_that_fails_raises_what_went_wrong_over_there(client, server, error):
    failed = Progress(ProgressKind.FAILED, problem=problem_members(error))

    def conversation(peer):
        _announced(peer)
        _deployed(peer, REVISION, failed)

    server.play(conversation)
    with pytest.raises(type(error), match=str(error)) as caught:
        client.deploy(Build())
    assert vars(caught.value) == vars(error)


def test_a_deploy_that_is_refused_raises_why(client, server):
    def conversation(peer):
        _announced(peer)
        peer.request()
        peer.refuse(errors.SpecInvalid("concurrency: expected a whole number, 1 or more, got 0"))

    server.play(conversation)
    with pytest.raises(errors.SpecInvalid, match="concurrency"):
        client.deploy(Build())


@pytest.mark.parametrize("end", [True, False])
def test_a_deploy_that_breaks_off_before_its_revision_has_failed(client, server, end):
    def conversation(peer):
        _announced(peer)
        _deployed(peer, Progress(ProgressKind.STARTED, "lock"), end=end)

    server.play(conversation)
    with pytest.raises(errors.GatewayUnreachable, match="broke"):
        client.deploy(Build())


def _looked_at(peer, function):
    assert peer.request().target == "/system/function/hello"
    peer.reply(json.dumps(members_of(function)).encode())


def _broken_after_revision(peer):
    _announced(peer)
    _deployed(peer, REVISION, end=False)


def test_a_deploy_that_breaks_off_after_its_revision_is_looked_at_until_it_is_ready(client, server):
    def second(peer):
        _looked_at(peer, replace(HELLO, state=FunctionState.DEPLOYING))
        _looked_at(peer, READY)

    server.play(_broken_after_revision, lambda peer: peer.request(), second)
    assert client.deploy(Build()) == READY


def test_a_deploy_that_breaks_off_and_then_crashes_tells_why(client, server):
    crashed = replace(
        HELLO,
        state=FunctionState.CRASH_LOOP,
        failure=Failure(1.0, "no weights", "HandlerInitFailed", "Traceback ..."),
    )
    server.play(_broken_after_revision, lambda peer: _looked_at(peer, crashed))
    with pytest.raises(errors.HandlerInitFailed, match="no weights") as caught:
        client.deploy(Build())
    assert caught.value.traceback == "Traceback ..."


def test_a_deploy_that_breaks_off_and_is_never_ready_ends_in_time(client, server):
    slow = replace(HELLO, state=FunctionState.DEPLOYING)
    server.play(_broken_after_revision, lambda peer: _looked_at(peer, slow))
    with pytest.raises(errors.StartTimeout, match="hello was not ready within 0 s"):
        client.deploy(Build(), timeout=0)


def test_a_deploy_for_which_nobody_waits_ends_at_the_first_look(client, server):
    slow = replace(HELLO, state=FunctionState.DEPLOYING)
    server.play(_broken_after_revision, lambda peer: _looked_at(peer, slow))
    assert client.deploy(Build(), wait=False) == slow


def test_a_canary_whose_deploy_breaks_off_is_looked_at_until_one_of_it_is_ready(client, server):
    def first(peer):
        _announced(peer)
        server.happened.put(_deployed(peer, REVISION, end=False)["canary"])

    def second(peer):
        starting, ready = (ReplicaStatus("r", 2, state, 1.0) for state in ("starting", "ready"))
        for replica in (starting, ready):
            _looked_at(peer, replace(READY, revision=1, canary=2, replica_list=(replica,)))

    server.play(first, second)
    assert client.deploy(Build(), canary=12.5).canary == 2
    assert server.happened.get(timeout=5) == 12.5


def test_a_line_that_is_no_progress(client, server):
    def conversation(peer):
        _announced(peer)
        peer.request()
        peer.stream(b"hello\n")
        peer.wait_for_end()

    server.play(conversation)
    with pytest.raises(errors.AnswerInvalid):
        client.deploy(Build())


def test_who_listens_may_stop_it(client, server):
    def conversation(peer):
        _announced(peer)
        _deployed(peer, REVISION, end=False)
        peer.wait_for_end()

    def stop(_progress):
        raise KeyboardInterrupt

    server.play(conversation)
    with pytest.raises(KeyboardInterrupt):
        client.deploy(Build(), on_progress=stop)
