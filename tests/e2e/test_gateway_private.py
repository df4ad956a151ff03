"""What other users of the machine, and other callers, get to see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.gateway_process import GatewayProcess, running

HANDLER = """
import os, pathlib

class Handler:
    def __call__(self, req):
        if req.input == b"fail":
            raise ValueError("no")
        files = [str(path) for path in pathlib.Path("..").rglob("*") if path.is_file()]
        return {"value": os.environ.get("HUSH"), "files": files}
"""
VALUE = "a-word-that-nobody-else-may-read"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("house")
    for left in ("store", "replicas", "workspaces", "gateway"):
        (folder / "data" / left).mkdir(parents=True)
        (folder / "data" / left).chmod(0o755)
    (folder / "data").chmod(0o755)
    with running(folder, "--allow-host", "dcf.example.com", shared=True) as house:
        made = house.write("hush", HANDLER, config="    environment_file: [.env.prod]\n")
        (made / ".env.prod").write_text(f"HUSH={VALUE}\n")
        (made / ".env.prod").chmod(0o600)
        house.deploy(made)
        yield house


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nobody_else_can_enter_the_data_directory_or_the_folders_in_it(house):
    data = house.places.data
    folders = [data, *(path for path in data.iterdir() if path.is_dir())]
    assert {path.name for path in folders} >= {"store", "replicas", "gateway"}
    assert {path.name: oct(mode(path)) for path in folders if mode(path) != 0o700} == {}
    assert mode(house.places.token("127.0.0.1", house.port).parent) == 0o700
    assert mode(house.places.gateway_runtime) == 0o700


def test_an_environment_file_is_read_and_never_copied(house):
    seen = json.loads(house.call("hush")[1])
    assert seen["value"] == VALUE
    assert seen["files"]
    assert not [path for path in seen["files"] if ".env" in path]
    having = [
        path
        for path in house.places.data.rglob("*")
        if path.is_file() and VALUE.encode() in path.read_bytes()
    ]
    assert {path.name.partition("-")[0] for path in having} == {"catalog.sqlite"}
    assert {mode(path) for path in having} == {0o600}


def test_a_run_reads_an_environment_file_where_it_is(house):
    folder = house.folder / "functions" / "hush"
    done = house.dcf("function", "run", f"{folder}/")
    seen = json.loads(done.stdout)
    assert seen["value"] == VALUE
    assert not [path for path in seen["files"] if ".env" in path]
    assert mode(house.places.workspaces) == 0o700


def test_callers_on_this_machine_are_told_the_traceback(house):
    status, body = house.call("hush", b"fail")
    problem = json.loads(body)
    assert (status, problem["exception"]) == (500, "ValueError")
    assert "handler.py" in problem["traceback"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("evil.example", 421),
        ("dcf.example.com", 200),
        (os.uname().nodename, 200),
        ("x.localhost", 200),
    ],
)
def test_only_names_of_this_machine_and_those_that_are_allowed_pass(house, host, expected):
    for path in ("/function/hush", "/system/functions"):
        status, _, body = house.request("GET", path, headers={"Host": f"{host}:{house.port}"})
        assert status == expected, body


@pytest.mark.parametrize("path", ["/system%2ffunctions", "//system/functions", "/%73ystem/info"])
def test_a_path_in_another_form_lists_nothing(house, path):
    status, _, body = house.get(path)
    assert (status, json.loads(body)["error"]) == (400, "BadRequest")


def test_a_host_that_is_none_is_a_mistake_on_the_command_line(house):
    for given in ("evil.example:80", "http://evil.example", "-x", "a b"):
        done = house.dcf("gateway", "start", "--allow-host", given)
        assert done.returncode == 2
        assert b"--allow-host" in done.stderr
    done = house.dcf("function", "serve", "x", env={"DCF_ALLOWED_HOSTS": "ok,a/b"})
    assert done.returncode == 2
    assert b"DCF_ALLOWED_HOSTS" in done.stderr
