"""What `deploy` sends, and what it tells."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dcf as root
from dcf.cli.console import Console
from dcf.cli.exit_codes import ExitCode
from dcf.errors import DcfError, HandlerInitFailed, PackageNotFound, RolloutInvalid
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.protocol.gateway import JSON_LINES, function_of
from dcf.protocol.problem import to_problem
from dcf.protocol.progress import Progress, ProgressKind
from unit.builder.kit import make_runtime_wheels, private_environment
from unit.cli.scripted import Asked, Reply, Scripted, status


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A function with an environment file, built from packages that lie in a folder."""
    wheels = make_runtime_wheels(tmp_path / "wheels")
    for name, value in private_environment(tmp_path, wheels).items():
        monkeypatch.setenv(name, value)
    place = home / "hello"
    (place / "src").mkdir(parents=True)
    (place / "src" / "handler.py").write_text("def Handler(req): return req.input\n")
    (place / "vars.env").write_text("A=1\nB=1\n")
    (place / "config.yaml").write_text(
        "functions:\n  hello:\n    environment_file: [vars.env]\n    environment: {B: '2'}\n"
        "    secrets: [api-key]\n    limits: {memory: 1G}\n    constraints: [gpu]\n"
    )
    return place


class Receiver:
    """Takes uploads as a gateway does, and says what it is told to."""

    def __init__(self, gateway: Scripted) -> None:
        self._gateway = gateway
        self.blobs: dict[str, bytes] = {}
        self.deployed: dict[str, Any] = {}
        gateway.answer("POST", "/system/uploads", self._announced)

    def says(self, *progress: Progress) -> None:
        """The lines of the reply to what is deployed next."""

        def reply(asked: Asked) -> Reply:
            self.deployed = asked.members
            return Reply(b"".join(one.to_line() for one in progress), media_type=JSON_LINES)

        self._gateway.answer("POST", "/system/functions", reply)

    def _announced(self, asked: Asked) -> Reply:
        bundle = Bundle(tuple(BundleFile(*one) for one in asked.members["files"]))
        missing = {one.digest: one.size for one in bundle.files if one.digest not in self.blobs}
        for digest in missing:
            self._gateway.answer("PUT", f"/system/blobs/{digest}", self._received)
        found = {
            "bundle": bundle.digest,
            "lock": digest_of(asked.members["lock"].encode()),
            "missing": [{"digest": name, "size": size} for name, size in missing.items()],
        }
        return Reply(json.dumps(found).encode())

    def _received(self, asked: Asked) -> Reply:
        digest = asked.target.removeprefix("/system/blobs/").partition("?")[0]
        self.blobs[digest] = asked.body
        return Reply(json.dumps({"offset": len(asked.body), "complete": True}).encode())


@pytest.fixture
def receiver(gateway: Scripted) -> Receiver:
    return Receiver(gateway)


def revision(number: int, *, is_new: bool = True) -> Progress:
    return Progress(ProgressKind.REVISION, number=number, is_new=is_new)


def ended(kind: ProgressKind = ProgressKind.READY, **more: Any) -> Progress:
    return Progress(kind, function=function_of(status("hello", **more)))


def failed(error: DcfError) -> Progress:
    return Progress(ProgressKind.FAILED, problem=json.loads(to_problem(error)))


def test_deploy_sends_the_files_and_prints_the_url(dcf, folder, gateway, receiver):
    built = Progress(ProgressKind.FINISHED, step="environment", detail="2 packages", seconds=1.5)
    receiver.says(built, Progress(ProgressKind.PING), revision(1), ended())

    done = dcf("function", "deploy", "./hello", "--min", "1", "--max", "4")

    assert done.code == 0, done.err
    assert done.text == f"{gateway.url}/function/hello\n"
    said = done.err.splitlines()
    assert said[0] == f"Deploying function (hello) to {gateway.url} ..."
    assert any(line.startswith("  upload: 2 files, ") for line in said)
    assert "  environment: 2 packages (1.5 s)" in said
    assert any(line.startswith("  start: 1 of 1 replicas ready (") for line in said)
    assert said[-1] == "hello: revision 1"
    assert {digest_of(content) for content in receiver.blobs.values()} == set(receiver.blobs)
    assert (folder / "src" / "handler.py").read_bytes() in receiver.blobs.values()
    wanted = receiver.deployed
    assert (wanted["minimum"], wanted["maximum"], wanted["wait"]) == (1, 4, True)


@pytest.mark.parametrize(("given", "share"), [("10%", 10.0), ("10", 10.0), ("0.5 %", 0.5)])
def test_a_canary_takes_a_part_of_the_calls(dcf, folder, receiver, given, share):
    receiver.says(revision(2), ended(canary=2, share=share))

    done = dcf("function", "deploy", "./hello", "--canary", given)

    assert done.code == 0, done.err
    assert receiver.deployed["canary"] == share
    assert "  start: revision 2 is ready (" in done.err
    last = f"hello: revision 2 takes {share:g} % of the calls, revision 1 takes the rest"
    assert done.err.splitlines()[-1] == last


@pytest.mark.parametrize("given", ["0", "100", "100%", "-5", "1000", "ten", "%", "", "1e1"])
def test_an_invalid_canary_share_is_rejected(dcf, folder, gateway, given):
    done = dcf("function", "deploy", "./hello", "--canary", given)

    assert done.code == ExitCode.USAGE
    assert "expected a part of the calls such as 10%, got" in done.err
    assert gateway.asked == []


def test_a_canary_beside_nothing_is_told_with_what_to_do(dcf, folder, receiver):
    receiver.says(failed(RolloutInvalid("hello is not deployed yet")))

    done = dcf("function", "deploy", "./hello", "--canary", "10%")

    assert done.code == ExitCode.PROJECT
    assert "hello is not deployed yet" in done.err
    assert "dcf-cli function revisions" in done.err


def test_scaling_travels_with_the_spec(dcf, folder, receiver):
    config = folder / "config.yaml"
    config.write_text(config.read_text() + "    scaling: {min: 0, max: 3, idle: 1m}\n")
    receiver.says(revision(1), ended())

    assert dcf("function", "deploy", "./hello").code == 0
    scaling = {"minimum": 0, "maximum": 3, "idle": 60.0}
    assert receiver.deployed["spec"]["scaling"] == scaling


def test_variables_travel_and_secrets_stay_names(dcf, folder, receiver):
    receiver.says(revision(1), ended())

    dcf("function", "deploy", "./hello")

    spec = receiver.deployed["spec"]
    assert spec["environment"] == {"A": "1", "B": "2"}
    assert spec["secrets"] == ["api-key"]
    assert "environment_file" not in spec


def test_what_acts_nowhere_is_told_and_limits_act_here(dcf, folder, receiver):
    receiver.says(revision(1), ended())

    said = dcf("function", "deploy", "./hello").err

    assert "constraints acts only in clusters" in said
    assert "memory" not in said


def test_no_environment_is_made_on_this_machine(dcf, folder, receiver, tmp_path):
    receiver.says(revision(1), ended())

    dcf("function", "deploy", "./hello")

    assert list((tmp_path / "data" / "store" / "environments").iterdir()) == []


def test_what_is_there_already_is_neither_sent_nor_new(dcf, folder, receiver):
    receiver.says(revision(3), ended(revision=3))
    dcf("function", "deploy", "./hello")
    receiver.says(revision(3, is_new=False), ended(revision=3))

    done = dcf("function", "deploy", "./hello")

    assert "upload" not in done.err
    assert done.err.endswith("hello: unchanged, revision 3 keeps serving\n")


def test_without_waiting_nothing_is_said_of_replicas(dcf, folder, receiver):
    receiver.says(revision(1), ended(ProgressKind.ACCEPTED))

    done = dcf("function", "deploy", "./hello", "--no-wait")

    assert done.code == 0
    assert "replicas" not in done.err
    assert receiver.deployed["wait"] is False


def test_a_handler_that_cannot_start_shows_its_traceback_and_who_goes_on(
    dcf, folder, gateway, receiver
):
    error = HandlerInitFailed("the constructor raised", "Traceback:\n  handler.py, line 3")
    receiver.says(revision(2), failed(error))
    gateway.answer("GET", "/system/function/hello", status("hello", revision=2, serving=1))

    done = dcf("function", "deploy", "./hello")

    assert done.code == ExitCode.START
    assert (done.out, "handler.py, line 3" in done.err) == (b"", True)
    assert "Revision 1 keeps serving." in done.err


def test_a_build_that_fails_over_there_is_told_as_if_it_were_here(dcf, folder, receiver):
    receiver.says(failed(PackageNotFound("no index has nope")))

    done = dcf("function", "deploy", "./hello")

    assert done.code == ExitCode.BUILD
    assert "no index has nope" in done.err


def test_a_lock_that_cannot_be_made_fails_before_anything_is_sent(dcf, folder, gateway, receiver):
    (folder / "requirements.txt").write_text("nope\n")

    done = dcf("function", "deploy", "./hello")

    assert done.code == ExitCode.BUILD
    assert {one.method for one in gateway.asked} == {"GET"}


def test_without_a_gateway_nothing_is_built(dcf, folder, tmp_path):
    done = dcf("function", "deploy", "./hello", "-g", "127.0.0.1:9")

    assert done.code == ExitCode.GATEWAY
    assert not (folder / "requirements.lock").exists()


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ([], "The deploy was cancelled."),
        ([revision(2)], "The gateway continues to start revision 2"),
    ],
)
def test_ctrl_c_tells_whether_the_deploy_goes_on(
    dcf, folder, gateway, receiver, monkeypatch, before, says
):
    heard = threading.Event()

    def output(_console: Console, line: str) -> None:
        if line == "a line":
            heard.set()

    monkeypatch.setattr(Console, "output", output)
    sent = [*before, Progress(ProgressKind.OUTPUT, detail="a line")]

    def lines() -> Iterator[bytes]:
        yield b"".join(one.to_line() for one in sent)
        assert heard.wait(10)
        signal.raise_signal(signal.SIGINT)
        while True:  # until the client has gone away
            yield Progress(ProgressKind.PING).to_line()

    gateway.answer("POST", "/system/functions", lambda _: Reply(lines(), media_type=JSON_LINES))

    done = dcf("function", "deploy", "./hello")

    assert done.code == ExitCode.INTERRUPTED
    assert says in done.err


def test_python_builds_and_deploys_in_one_line(folder, gateway, receiver):
    receiver.says(revision(1), ended())

    with root.Client() as client:
        deployed = client.deploy(root.build("./hello"))

    assert deployed.name == "hello"
    assert receiver.deployed["bundle"] == root.build(folder).artifact.bundle
