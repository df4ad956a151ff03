"""What becomes of a function's folder when it is deployed, and of one that is broken."""

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
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.places.secrets.mkdir()
        (house.places.secrets / "melody").write_text("do re mi\n")
        yield house


@pytest.fixture
def author(tmp_path: Path) -> dict[str, str]:
    """The author's machine is another one: its store is not the gateway's."""
    return {"DCF_DATA_DIR": str(tmp_path / "author")}


Done = subprocess.CompletedProcess[bytes]


def deploy(house: GatewayProcess, folder: Path, *more: str, **given: Any) -> Done:
    return house.dcf("function", "deploy", f"{folder}/", *more, **given)


def uploaded(done: Done) -> list[str]:
    return re.findall(r"upload: (\d+) files?, ", done.stderr.decode())


def is_deployed(house: GatewayProcess, name: str) -> bool:
    return name in [one.name for one in house.client.functions()]


def test_what_has_not_changed_makes_no_revision_and_what_has_is_sent_alone(
    house: GatewayProcess, author: dict[str, str]
) -> None:
    folder = house.write("steady", VERSION.format(1))
    (folder / "src" / "model.bin").write_bytes(bytes(3_000_000))
    first = deploy(house, folder, env=author)
    assert first.returncode == 0, first.stderr
    assert first.stdout.decode() == f"{house.url}/function/steady\n"
    assert uploaded(first) == ["4"]

    again = deploy(house, folder, env=author)
    assert again.returncode == 0, again.stderr
    assert b"revision 1 stands" in again.stderr
    assert uploaded(again) == []

    house.write("steady", VERSION.format(2))
    changed = deploy(house, folder, env=author)
    assert changed.returncode == 0, changed.stderr
    assert uploaded(changed) == ["1"]
    assert house.call("steady") == (200, b"version 2")
    assert [one.number for one in house.client.revisions("steady")] == [2, 1]

    house.write("steady", VERSION.format(1))
    back = deploy(house, folder, env=author)
    assert back.returncode == 0, back.stderr
    assert uploaded(back) == [], "the gateway still has it"
    assert house.call("steady") == (200, b"version 1")
    assert house.client.function("steady").revision == 3


def test_without_waiting_a_deploy_returns_before_its_replicas_are_ready(
    house: GatewayProcess,
) -> None:
    gate = house.folder / "gate"
    slow = f"""
import pathlib, time
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
class Handler:
    def __call__(self, req):
        return b"open"
"""
    done = deploy(house, house.write("patient", slow), "--no-wait")
    assert done.returncode == 0, done.stderr
    assert house.client.function("patient").state == "deploying"
    impatient = deploy(house, house.folder / "functions" / "patient", "--timeout", "0.2")
    assert impatient.returncode == 10
    assert b"0.2 s" in impatient.stderr
    gate.touch()
    house.until_ready("patient")
    assert house.call("patient") == (200, b"open")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (RAISES, ["raise RuntimeError", "the model is missing", "handler.py", "line 3"]),
        ("class Handler\n    pass\n", ["SyntaxError", "handler.py", "line 1"]),
        ("import numpyy\n", ["ModuleNotFoundError", "numpyy"]),
        ("import os\nos._exit(3)\n", ["exit code 3"]),
        ("class Model: pass\n", ["Handler", "Model"]),
    ],
    ids=["constructor", "syntax", "import", "exit", "name"],
)
def test_a_handler_that_cannot_start_is_told_at_once_with_exit_code_8(
    house: GatewayProcess, handler: str, told: list[str]
) -> None:
    done = deploy(house, house.write("broken", handler))

    assert done.returncode == 8
    for part in told:
        assert part in done.stderr.decode()
    assert house.client.function("broken").ready == 0
    house.client.delete("broken")


def test_while_a_broken_revision_fails_the_one_before_goes_on(house: GatewayProcess) -> None:
    folder = house.write("solid", VERSION.format(1))
    house.deploy(folder)
    house.write("solid", RAISES)
    done = deploy(house, folder)

    assert done.returncode == 8
    assert b"Revision 1 keeps serving" in done.stderr
    assert house.call("solid") == (200, b"version 1")
    found = house.client.function("solid")
    assert (found.revision, found.serving, found.takes_calls) == (2, 1, True)
    assert found.failure is not None
    assert "RuntimeError" in found.failure.traceback
    house.write("solid", VERSION.format(3))
    house.deploy(folder)
    assert house.call("solid") == (200, b"version 3")


def test_a_requirement_that_does_not_exist_deploys_nothing(house: GatewayProcess) -> None:
    folder = house.write("wishful", VERSION.format(1), requirements="no-such-package-qwzx==1\n")
    done = deploy(house, folder)

    assert done.returncode == 4, done.stderr
    assert b"no-such-package-qwzx" in done.stderr
    assert not is_deployed(house, "wishful")


def test_a_package_that_does_not_build_over_there_deploys_nothing(
    house: GatewayProcess, author: dict[str, str]
) -> None:
    folder = house.write("fragile", VERSION.format(1), requirements="./package\n")
    (folder / "package").mkdir()
    for name, text in BAD_PACKAGE.items():
        (folder / "package" / name).write_text(text)
    done = deploy(house, folder, env=author)

    assert done.returncode == 4, done.stderr
    assert b"the compiler is missing" in done.stderr
    assert not is_deployed(house, "fragile")


def test_a_replica_has_its_variables_and_secrets_and_no_token(house: GatewayProcess) -> None:
    folder = house.write("sees", SEES, config=FULL)
    (folder / "more.env").write_text("COLOUR=red\nSIZE=large\n")
    house.deploy(folder)
    status, reply = house.call("sees")

    assert status == 200, reply
    assert json.loads(reply) == {
        "COLOUR": "green",
        "SIZE": "large",
        "TASTE": None,
        "DCF_TOKEN": None,
        "secret": "do re mi",
        "name": "sees",
    }
    found = house.client.function("sees")
    assert found.labels == {"team": "voices"}


@pytest.mark.parametrize("missing", ["secret", "file"])
def test_a_secret_or_file_that_is_missing_is_named_with_its_place(
    house: GatewayProcess, missing: str
) -> None:
    key, name = {"secret": ("secrets", "harmony"), "file": ("environment_file", "x.env")}[missing]
    folder = house.write("lacking", VERSION.format(1), config=f"    {key}: [{name}]\n")
    done = deploy(house, folder)

    assert done.returncode == 3
    place = (house.places.secrets if missing == "secret" else folder) / name
    assert str(place) in done.stderr.decode()
    assert not is_deployed(house, "lacking")


def test_what_is_wrong_with_a_config_file_is_told_with_its_place(house: GatewayProcess) -> None:
    folder = house.write("wrong", VERSION.format(1), config="    limits: {memory: a lot}\n")
    done = deploy(house, folder)

    assert done.returncode == 3
    assert f"{folder}/config.yaml:4:" in done.stderr.decode()


def test_bounds_that_exclude_each_other_are_refused(house: GatewayProcess) -> None:
    done = deploy(house, house.write("bounded", VERSION.format(1)), "--min", "3", "--max", "2")

    assert done.returncode == 3
    assert not is_deployed(house, "bounded")


def test_a_program_deploys_what_it_has_built(
    house: GatewayProcess, monkeypatch: pytest.MonkeyPatch, author: dict[str, str]
) -> None:
    for name, value in {**house.env, **author}.items():
        monkeypatch.setenv(name, value)
    folder = house.write("made", VERSION.format(1))
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
