"""What other users of the machine and other callers can see."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    for name in ("store", "replicas", "workspaces", "gateway"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name).chmod(0o755)
    (folder / "data").chmod(0o755)
    with running(folder, "--allow-host", "dcf.example.com", shared=True) as gateway:
        made = gateway.write("hush", HANDLER, config="    environment_file: [.env.prod]\n")
        (made / ".env.prod").write_text(f"HUSH={VALUE}\n")
        (made / ".env.prod").chmod(0o600)
        gateway.deploy(made)
        yield gateway


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_other_users_cannot_enter_the_data_directory_or_its_folders(gateway):
    data = gateway.places.data
    folders = [data, *(path for path in data.iterdir() if path.is_dir())]
    assert {path.name for path in folders} >= {"store", "replicas", "gateway"}
    assert {path.name: oct(mode(path)) for path in folders if mode(path) != 0o700} == {}
    assert mode(gateway.places.token("127.0.0.1", gateway.port).parent) == 0o700
    assert mode(gateway.places.gateway_runtime) == 0o700


def test_an_environment_file_is_read_and_never_copied(gateway):
    seen = json.loads(gateway.call("hush")[1])
    assert seen["value"] == VALUE
    assert seen["files"]
    assert not [path for path in seen["files"] if ".env" in path]
    having = [
        path
        for path in gateway.places.data.rglob("*")
        if path.is_file() and VALUE.encode() in path.read_bytes()
    ]
    assert {path.name.partition("-")[0] for path in having} == {"catalog.sqlite"}
    assert {mode(path) for path in having} == {0o600}


def test_run_reads_an_environment_file_in_place(gateway):
    folder = gateway.folder / "functions" / "hush"
    result = gateway.dcf("function", "run", f"{folder}/")
    seen = json.loads(result.stdout)
    assert seen["value"] == VALUE
    assert not [path for path in seen["files"] if ".env" in path]
    assert mode(gateway.places.workspaces) == 0o700


def test_loopback_callers_get_the_traceback(gateway):
    status, body = gateway.call("hush", b"fail")
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
def test_only_the_names_of_this_machine_and_allowed_names_pass(gateway, host, expected):
    for path in ("/function/hush", "/system/functions"):
        status, _, body = gateway.request("GET", path, headers={"Host": f"{host}:{gateway.port}"})
        assert status == expected, body


@pytest.mark.parametrize("path", ["/system%2ffunctions", "//system/functions", "/%73ystem/info"])
def test_another_spelling_of_a_path_lists_nothing(gateway, path):
    status, _, body = gateway.get(path)
    assert (status, json.loads(body)["error"]) == (400, "BadRequest")


def test_an_invalid_host_is_a_usage_error(gateway):
    for host in ("evil.example:80", "http://evil.example", "-x", "a b"):
        result = gateway.dcf("gateway", "start", "--allow-host", host)
        assert result.returncode == 2
        assert b"--allow-host" in result.stderr
    result = gateway.dcf("function", "serve", "x", env={"DCF_ALLOWED_HOSTS": "ok,a/b"})
    assert result.returncode == 2
    assert b"DCF_ALLOWED_HOSTS" in result.stderr
