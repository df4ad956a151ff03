"""Wrong, hostile and unlucky input: a clear answer, nothing left half done, nothing told that is
secret."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcf.model.artifact import digest_of
from e2e.gateway_process import CLI, PATIENCE, GatewayProcess, running
from process.mounts import mounted, needs_mounts

ECHO = """
class Handler:
    def __call__(self, req):
        return req.input
"""

QUICK = "    timeout: 1\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("echo", ECHO, config=QUICK))
        yield house


def managed(
    house: GatewayProcess, method: str, path: str, body: bytes = b"", token: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a management request."""
    headers = {"authorization": f"Bearer {token or house.token}"}
    status, _, reply = house.request(method, path, body, headers)
    return status, json.loads(reply) if reply else {}


def announced(house: GatewayProcess, files: list[list[object]]) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"files": files, "lock": "# nothing\n"}).encode()
    return managed(house, "POST", "/system/uploads", body)


def idle(house: GatewayProcess) -> bool:
    return b'dcf_function_in_flight{function="echo"} 0' in house.get("/metrics")[2]


def test_an_unknown_function_is_told_with_the_nearest_names(house: GatewayProcess) -> None:
    status, _, reply = house.request("POST", "/function/ecko", b"x")
    assert (status, json.loads(reply)["near"]) == (404, ["echo"])
    done = house.dcf("function", "call", "ecko")
    assert done.returncode == 3
    assert b"Did you mean echo?" in done.stderr


@pytest.mark.parametrize("path", ["/function/..%2fsystem%2finfo", "/function/%00", "/function/"])
def test_a_name_that_is_none_leads_nowhere(house: GatewayProcess, path: str) -> None:
    assert house.request("GET", path)[0] in {400, 404}


def test_what_is_no_request_of_the_gateways_is_refused(house: GatewayProcess) -> None:
    status, headers, _ = house.request("PATCH", "/system/functions")
    assert (status, headers["allow"]) == (405, "GET, HEAD, POST, PUT")
    status, problem = managed(house, "POST", "/system/functions", b'{"spec":\n oops}')
    assert status == 400
    assert "line 2, column 2" in problem["detail"]
    assert managed(house, "GET", "/sytem/info")[0] == 404


def test_what_is_too_large_is_refused_before_it_has_come(house: GatewayProcess) -> None:
    headers = {"authorization": f"Bearer {house.token}", "content-length": str(1 << 40)}
    for path in ("/function/echo", "/system/functions"):
        with socket.create_connection(("127.0.0.1", house.port), PATIENCE) as client:
            lines = [f"POST {path} HTTP/1.1", "host: localhost"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            client.sendall("\r\n".join([*lines, "", "start"]).encode())
            assert client.recv(100).split()[1] == b"413", path
    assert house.request("GET", "/healthz", headers={"x-large": "x" * 70_000})[0] == 431
    house.until(lambda: idle(house))


@pytest.mark.parametrize(
    "paths",
    [["../evil"], ["/etc/passwd"], ["a/../../b"], ["a\0b"], ["a", "a"], ["a", "a/b"], ["x" * 300]],
)
def test_a_path_that_leads_out_or_collides_is_refused(
    house: GatewayProcess, paths: list[str]
) -> None:
    status, problem = announced(house, [[path, digest_of(b""), 0, False] for path in paths])
    assert (status, problem["error"]) == (422, "BundleInvalid")


def test_more_than_may_be_sent_is_refused_when_it_is_announced(house: GatewayProcess) -> None:
    huge: list[list[object]] = [[f"f{n}", digest_of(b"%d" % n), 1 << 35, False] for n in range(3)]
    assert announced(house, huge)[1]["error"] == "BundleInvalid"
    many: list[list[object]] = [[f"f{n}", digest_of(b""), 0, False] for n in range(100_001)]
    assert announced(house, many)[1]["error"] == "BundleInvalid"
    assert not any((house.places.store / "uploads").glob("*.part"))


def test_a_blob_that_is_another_one_is_not_kept(house: GatewayProcess) -> None:
    content = b"what was announced"
    digest = digest_of(content)
    assert announced(house, [["a", digest, len(content), False]])[0] == 200
    blob = f"/system/blobs/{digest}"
    status, problem = managed(house, "PUT", f"{blob}?offset=0", b"something else ...")
    assert (status, problem["error"]) == (409, "UploadInvalid")
    status, problem = managed(house, "PUT", f"{blob}?offset=7", content[7:])
    assert (status, problem.get("offset", 0)) == (409, 0)
    assert managed(house, "PUT", f"{blob}?offset=0", content[:7])[1]["offset"] == 7
    assert managed(house, "PUT", f"{blob}?offset=7", content[7:])[1]["complete"] is True
    status, problem = managed(house, "PUT", f"/system/blobs/{digest_of(b'never')}", b"never")
    assert (status, problem["error"]) == (409, "UploadInvalid")


def test_what_was_not_uploaded_is_not_deployed(house: GatewayProcess) -> None:
    body = {"spec": {"name": "ghost"}, "bundle": digest_of(b"1"), "lock": digest_of(b"2")}
    status, problem = managed(house, "POST", "/system/functions", json.dumps(body).encode())
    assert (status, problem["error"]) == (409, "BlobsMissing")
    assert house.get("/system/function/ghost")[0] == 404


def test_management_needs_the_token(house: GatewayProcess) -> None:
    for method, path in (
        ("POST", "/system/functions"),
        ("DELETE", "/system/function/echo"),
        ("GET", "/system/function-log/echo"),
        ("POST", "/system/uploads"),
        ("GET", "/system/keys"),
    ):
        status, headers, _ = house.request(method, path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer"), path
        wrong = house.token[:-2] + ("aa" if house.token[-2:] != "aa" else "bb")
        assert managed(house, method, path, token=wrong)[0] == 401, path
    done = house.dcf("function", "delete", "echo", env={"DCF_TOKEN": "wrong"})
    assert done.returncode == 12
    assert house.call("echo", b"x") == (200, b"x")


def test_a_client_that_stalls_or_vanishes_in_its_body_leaves_nothing(house: GatewayProcess) -> None:
    head = b"POST /function/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nhalf"
    with socket.create_connection(("127.0.0.1", house.port), PATIENCE) as stalls:
        stalls.sendall(head)
        assert stalls.recv(100).split()[1] == b"504"
        with contextlib.suppress(ConnectionError):
            while stalls.recv(65_536):
                pass
    with socket.create_connection(("127.0.0.1", house.port), PATIENCE) as vanishes:
        vanishes.sendall(head)
    house.until(lambda: idle(house))
    assert house.call("echo", b"x") == (200, b"x")


def test_two_deploys_of_one_function_at_once_come_one_after_the_other(
    house: GatewayProcess,
) -> None:
    folder = house.write("twice", ECHO)
    done: list[subprocess.CompletedProcess[bytes]] = []

    def deploy(timeout: int) -> None:
        config = folder.parent / f"twice-{timeout}"
        config.mkdir()
        for name in ("src", "requirements.txt"):
            (config / name).symlink_to(folder / name)
        text = (folder / "config.yaml").read_text() + f"    timeout: {timeout}\n"
        (config / "config.yaml").write_text(text)
        done.append(house.dcf("function", "deploy", "twice", "-f", str(config / "config.yaml")))

    threads = [threading.Thread(target=deploy, args=(timeout,)) for timeout in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0], [one.stderr.decode() for one in done]
    assert house.client.function("twice").revision == 2
    assert house.call("twice", b"x") == (200, b"x")
    house.client.delete("twice")


def started_beside(
    house: GatewayProcess, *options: str, **env: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*CLI, "gateway", "start", *options],
        env={**house.env, **env},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_second_gateway_finds_the_data_directory_or_the_port_taken(
    house: GatewayProcess, tmp_path: Path
) -> None:
    done = started_beside(house, "--port", str(house.port + 1))
    assert done.returncode == 12
    assert house.url.encode() in done.stderr
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        own = {"DCF_DATA_DIR": str(tmp_path), "DCF_RUNTIME_DIR": runtime}
        done = started_beside(house, "--port", str(house.port), **own)
    assert done.returncode == 8
    assert f"port {house.port} of 127.0.0.1 is in use".encode() in done.stderr
    assert house.call("echo", b"x") == (200, b"x")


def test_neither_token_nor_secret_is_in_a_log_or_a_process_list(house: GatewayProcess) -> None:
    secret = "a-secret-that-nobody-may-see"
    house.places.secrets.mkdir(exist_ok=True)
    (house.places.secrets / "password").write_text(secret)
    handler = "import dcf\n\nclass Handler:\n    def __call__(self, req):\n"
    handler += "        return str(len(dcf.secret('password')))\n"
    house.deploy(house.write("keeper", handler, config="    secrets: [password]\n"))
    assert house.call("keeper") == (200, str(len(secret)).encode())
    for wanted in (secret.encode(), house.token.encode()):
        for log in [*house.places.gateway.rglob("*.log"), house.log]:
            assert wanted not in log.read_bytes(), log
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                assert wanted not in entry.read_bytes(), entry
    house.client.delete("keeper")


@needs_mounts
def test_a_full_disk_fails_the_deploy_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        small = mounted(f"mount -t tmpfs -o size=48m none {data}")
        house = GatewayProcess(tmp_path, Path(runtime), before=small)
        # The author's own data is on another disk.
        author = {"DCF_DATA_DIR": str(tmp_path / "author")}
        try:
            house.start()
            # The gateway's data is on a disk that this process does not see.
            token = {"DCF_TOKEN": house.places.token("127.0.0.1", house.port).read_text().strip()}
            token |= author
            echo = house.write("echo", ECHO)
            done = house.dcf("function", "deploy", f"{echo}/", env=token)
            assert done.returncode == 0, done.stderr.decode()
            large = house.write("large", ECHO)
            (large / "model.bin").write_bytes(os.urandom(1 << 20) * 64)
            done = house.dcf("function", "deploy", f"{large}/", env=token)
            assert done.returncode == 6, done.stderr.decode()
            assert b"no space" in done.stderr
            assert house.call("echo", b"x") == (200, b"x")
            assert house.get("/system/function/large")[0] == 404
        finally:
            house.stop()
