"""Deploys of valid and broken functions."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dcf
from dcf.errors import FunctionNotFound
from e2e.gateway_process import GatewayProcess, running

VERSION = """
class Handler:
    def __call__(self, req):
        return "version {}"
"""

RAISES = """
def load():
    raise RuntimeError("the model is missing")

class Handler:
    def __init__(self):
        load()

    def __call__(self, req):
        return req.input
"""

SEES = """
import json, os
import dcf

class Handler:
    def __call__(self, req):
        names = ("COLOUR", "SIZE", "TASTE", "DCF_TOKEN")
        seen = {name: os.environ.get(name) for name in names}
        return {**seen, "secret": dcf.secret("melody"), "name": str(req.info)}
"""

FULL = """
    environment: {COLOUR: green}
    environment_file: [more.env]
    secrets: [melody]
    labels: {team: voices}
    constraints: ["node.labels.zone==here"]
"""

BAD_PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "bad-package"
version = "1"
""",
    "backend.py": """
def build_wheel(*_arguments, **_options):
    raise OSError("the compiler is missing")
""",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.places.secrets.mkdir()
        (gateway.places.secrets / "melody").write_text("do re mi\n")
        yield gateway


@pytest.fixture
def author(tmp_path: Path) -> dict[str, str]:
    """Give the author a store other than the gateway's, as on another machine."""
    return {"DCF_DATA_DIR": str(tmp_path / "author")}


Done = subprocess.CompletedProcess[bytes]


def deploy(gateway: GatewayProcess, folder: Path, *more: str, **options: Any) -> Done:
    return gateway.dcf("function", "deploy", f"{folder}/", *more, **options)


def uploaded(result: Done) -> list[str]:
    return re.findall(r"upload: (\d+) files?, ", result.stderr.decode())


def is_deployed(gateway: GatewayProcess, name: str) -> bool:
    return name in [function.name for function in gateway.client.functions()]


def test_unchanged_functions_make_no_revision_and_only_changes_are_sent(
    gateway: GatewayProcess, author: dict[str, str]
) -> None:
    folder = gateway.write("steady", VERSION.format(1))
    (folder / "src" / "model.bin").write_bytes(bytes(3_000_000))
    first = deploy(gateway, folder, env=author)
    assert first.returncode == 0, first.stderr
    assert first.stdout.decode() == f"{gateway.url}/function/steady\n"
    assert uploaded(first) == ["4"]

    again = deploy(gateway, folder, env=author)
    assert again.returncode == 0, again.stderr
    assert b"steady: unchanged, revision 1 keeps serving" in again.stderr
    assert uploaded(again) == []

    gateway.write("steady", VERSION.format(2))
    changed = deploy(gateway, folder, env=author)
    assert changed.returncode == 0, changed.stderr
    assert uploaded(changed) == ["1"]
    assert gateway.call("steady") == (200, b"version 2")
    assert [revision.number for revision in gateway.client.revisions("steady")] == [2, 1]

    gateway.write("steady", VERSION.format(1))
    back = deploy(gateway, folder, env=author)
    assert back.returncode == 0, back.stderr
    assert uploaded(back) == [], "the gateway still has it"
    assert gateway.call("steady") == (200, b"version 1")
    assert gateway.client.function("steady").revision == 3


def test_without_waiting_a_deploy_returns_before_its_replicas_are_ready(
    gateway: GatewayProcess,
) -> None:
    gate = gateway.folder / "gate"
    slow = f"""
import pathlib, time
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
class Handler:
    def __call__(self, req):
        return b"open"
"""
    result = deploy(gateway, gateway.write("patient", slow), "--no-wait")
    assert result.returncode == 0, result.stderr
    assert gateway.client.function("patient").state == "deploying"
    impatient = deploy(gateway, gateway.folder / "functions" / "patient", "--timeout", "0.2")
    assert impatient.returncode == 10
    assert b"0.2 s" in impatient.stderr
    gate.touch()
    gateway.until_ready("patient")
    assert gateway.call("patient") == (200, b"open")


@pytest.mark.parametrize(
    ("handler", "message_parts"),
    [
        (RAISES, ["raise RuntimeError", "the model is missing", "handler.py", "line 3"]),
        ("class Handler\n    pass\n", ["SyntaxError", "handler.py", "line 1"]),
        ("import numpyy\n", ["ModuleNotFoundError", "numpyy"]),
        ("import os\nos._exit(3)\n", ["exit code 3"]),
        ("class Model: pass\n", ["Handler", "Model"]),
    ],
    ids=["constructor", "syntax", "import", "exit", "name"],
)
def test_a_handler_that_cannot_start_fails_the_deploy_at_once_with_exit_code_8(
    gateway: GatewayProcess, handler: str, message_parts: list[str]
) -> None:
    result = deploy(gateway, gateway.write("broken", handler))

    assert result.returncode == 8
    for part in message_parts:
        assert part in result.stderr.decode()
    assert gateway.client.function("broken").ready == 0
    gateway.client.delete("broken")


def test_while_a_broken_revision_fails_the_previous_revision_keeps_serving(
    gateway: GatewayProcess,
) -> None:
    folder = gateway.write("solid", VERSION.format(1))
    gateway.deploy(folder)
    gateway.write("solid", RAISES)
    result = deploy(gateway, folder)

    assert result.returncode == 8
    assert b"Revision 1 keeps serving" in result.stderr
    assert gateway.call("solid") == (200, b"version 1")
    function = gateway.client.function("solid")
    assert (function.revision, function.serving, function.takes_calls) == (2, 1, True)
    assert function.failure is not None
    assert "RuntimeError" in function.failure.traceback
    gateway.write("solid", VERSION.format(3))
    gateway.deploy(folder)
    assert gateway.call("solid") == (200, b"version 3")


def test_a_requirement_that_does_not_exist_deploys_nothing(gateway: GatewayProcess) -> None:
    folder = gateway.write("wishful", VERSION.format(1), requirements="no-such-package-qwzx==1\n")
    result = deploy(gateway, folder)

    assert result.returncode == 4, result.stderr
    assert b"no-such-package-qwzx" in result.stderr
    assert not is_deployed(gateway, "wishful")


def test_a_package_that_the_gateway_cannot_build_deploys_nothing(
    gateway: GatewayProcess, author: dict[str, str]
) -> None:
    folder = gateway.write("fragile", VERSION.format(1), requirements="./package\n")
    (folder / "package").mkdir()
    for name, text in BAD_PACKAGE.items():
        (folder / "package" / name).write_text(text)
    result = deploy(gateway, folder, env=author)

    assert result.returncode == 4, result.stderr
    assert b"the compiler is missing" in result.stderr
    assert not is_deployed(gateway, "fragile")


def test_a_replica_has_its_variables_and_secrets_and_no_token(gateway: GatewayProcess) -> None:
    folder = gateway.write("sees", SEES, config=FULL)
    (folder / "more.env").write_text("COLOUR=red\nSIZE=large\n")
    gateway.deploy(folder)
    status, reply = gateway.call("sees")

    assert status == 200, reply
    assert json.loads(reply) == {
        "COLOUR": "green",
        "SIZE": "large",
        "TASTE": None,
        "DCF_TOKEN": None,
        "secret": "do re mi",
        "name": "sees",
    }
    function = gateway.client.function("sees")
    assert function.labels == {"team": "voices"}


@pytest.mark.parametrize("missing", ["secret", "file"])
def test_a_missing_secret_or_file_is_named_with_its_place(
    gateway: GatewayProcess, missing: str
) -> None:
    key, name = {"secret": ("secrets", "harmony"), "file": ("environment_file", "x.env")}[missing]
    folder = gateway.write("lacking", VERSION.format(1), config=f"    {key}: [{name}]\n")
    result = deploy(gateway, folder)

    assert result.returncode == 3
    place = (gateway.places.secrets if missing == "secret" else folder) / name
    assert str(place) in result.stderr.decode()
    assert not is_deployed(gateway, "lacking")


def test_an_invalid_config_file_is_reported_with_its_place(gateway: GatewayProcess) -> None:
    folder = gateway.write("wrong", VERSION.format(1), config="    limits: {memory: a lot}\n")
    result = deploy(gateway, folder)

    assert result.returncode == 3
    assert f"{folder}/config.yaml:4:" in result.stderr.decode()


def test_bounds_that_exclude_each_other_are_rejected(gateway: GatewayProcess) -> None:
    result = deploy(
        gateway, gateway.write("bounded", VERSION.format(1)), "--min", "3", "--max", "2"
    )

    assert result.returncode == 3
    assert not is_deployed(gateway, "bounded")


def test_a_program_deploys_what_it_has_built(
    gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch, author: dict[str, str]
) -> None:
    for name, value in {**gateway.env, **author}.items():
        monkeypatch.setenv(name, value)
    folder = gateway.write("made", VERSION.format(1))
    steps = []
    with dcf.Client() as client:
        status = client.deploy(
            dcf.build(folder),
            minimum=2,
            annotations={"commit": "abc"},
            on_progress=lambda progress: steps.append(str(progress.kind)),
        )
        assert (status.state, status.ready, status.revision) == ("ready", 2, 1)
        assert status.annotations == {"commit": "abc"}
        assert "revision" in steps
        assert client.call("made") == b"version 1"
        client.delete("made")
        with pytest.raises(FunctionNotFound):
            client.call("made")
