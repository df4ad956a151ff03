"""Invalid and hostile input gets a clear answer, leaves nothing behind and reveals no secret."""

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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO, config=QUICK))
        yield gateway


def managed(
    gateway: GatewayProcess, method: str, path: str, body: bytes = b"", token: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Send a management request; return status and JSON."""
    headers = {"authorization": f"Bearer {token or gateway.token}"}
    status, _, reply = gateway.request(method, path, body, headers)
    return status, json.loads(reply) if reply else {}


def announced(gateway: GatewayProcess, files: list[list[object]]) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"files": files, "lock": "# nothing\n"}).encode()
    return managed(gateway, "POST", "/system/uploads", body)


def idle(gateway: GatewayProcess) -> bool:
    return b'dcf_function_in_flight{function="echo"} 0' in gateway.get("/metrics")[2]


def test_the_answer_for_an_unknown_function_names_similar_functions(
    gateway: GatewayProcess,
) -> None:
    status, _, reply = gateway.request("POST", "/function/ecko", b"x")
    assert (status, json.loads(reply)["near"]) == (404, ["echo"])
    result = gateway.dcf("function", "call", "ecko")
    assert result.returncode == 3
    assert b"Did you mean echo?" in result.stderr


@pytest.mark.parametrize("path", ["/function/..%2fsystem%2finfo", "/function/%00", "/function/"])
def test_an_invalid_name_is_not_found(gateway: GatewayProcess, path: str) -> None:
    assert gateway.request("GET", path)[0] in {400, 404}


def test_a_request_that_the_gateway_does_not_know_is_rejected(gateway: GatewayProcess) -> None:
    status, headers, _ = gateway.request("PATCH", "/system/functions")
    assert (status, headers["allow"]) == (405, "GET, HEAD, POST, PUT")
    status, problem = managed(gateway, "POST", "/system/functions", b'{"spec":\n oops}')
    assert status == 400
    assert "line 2, column 2" in problem["detail"]
    assert managed(gateway, "GET", "/sytem/info")[0] == 404


def test_a_body_that_is_too_large_is_rejected_before_it_has_arrived(
    gateway: GatewayProcess,
) -> None:
    headers = {"authorization": f"Bearer {gateway.token}", "content-length": str(1 << 40)}
    for path in ("/function/echo", "/system/functions"):
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as client:
            lines = [f"POST {path} HTTP/1.1", "host: localhost"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            client.sendall("\r\n".join([*lines, "", "start"]).encode())
            assert client.recv(100).split()[1] == b"413", path
    assert gateway.request("GET", "/healthz", headers={"x-large": "x" * 70_000})[0] == 431
    gateway.until(lambda: idle(gateway))


@pytest.mark.parametrize(
    "paths",
    [["../evil"], ["/etc/passwd"], ["a/../../b"], ["a\0b"], ["a", "a"], ["a", "a/b"], ["x" * 300]],
)
def test_a_path_that_leaves_the_folder_or_collides_is_rejected(
    gateway: GatewayProcess, paths: list[str]
) -> None:
    status, problem = announced(gateway, [[path, digest_of(b""), 0, False] for path in paths])
    assert (status, problem["error"]) == (422, "BundleInvalid")


def test_an_announced_upload_over_the_limits_is_rejected(gateway: GatewayProcess) -> None:
    huge: list[list[object]] = [[f"f{n}", digest_of(b"%d" % n), 1 << 35, False] for n in range(3)]
    assert announced(gateway, huge)[1]["error"] == "BundleInvalid"
    many: list[list[object]] = [[f"f{n}", digest_of(b""), 0, False] for n in range(100_001)]
    assert announced(gateway, many)[1]["error"] == "BundleInvalid"
    assert not any((gateway.places.store / "uploads").glob("*.part"))


def test_a_blob_with_another_digest_is_not_kept(gateway: GatewayProcess) -> None:
    content = b"what was announced"
    digest = digest_of(content)
    assert announced(gateway, [["a", digest, len(content), False]])[0] == 200
    blob = f"/system/blobs/{digest}"
    status, problem = managed(gateway, "PUT", f"{blob}?offset=0", b"something else ...")
    assert (status, problem["error"]) == (409, "UploadInvalid")
    status, problem = managed(gateway, "PUT", f"{blob}?offset=7", content[7:])
    assert (status, problem.get("offset", 0)) == (409, 0)
    assert managed(gateway, "PUT", f"{blob}?offset=0", content[:7])[1]["offset"] == 7
    assert managed(gateway, "PUT", f"{blob}?offset=7", content[7:])[1]["complete"] is True
    status, problem = managed(gateway, "PUT", f"/system/blobs/{digest_of(b'never')}", b"never")
    assert (status, problem["error"]) == (409, "UploadInvalid")


def test_a_function_whose_blobs_are_missing_is_not_deployed(gateway: GatewayProcess) -> None:
    body = {"spec": {"name": "ghost"}, "bundle": digest_of(b"1"), "lock": digest_of(b"2")}
    status, problem = managed(gateway, "POST", "/system/functions", json.dumps(body).encode())
    assert (status, problem["error"]) == (409, "BlobsMissing")
    assert gateway.get("/system/function/ghost")[0] == 404


def test_management_needs_the_token(gateway: GatewayProcess) -> None:
    for method, path in (
        ("POST", "/system/functions"),
        ("DELETE", "/system/function/echo"),
        ("GET", "/system/function-log/echo"),
        ("POST", "/system/uploads"),
        ("GET", "/system/keys"),
    ):
        status, headers, _ = gateway.request(method, path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer"), path
        wrong = gateway.token[:-2] + ("aa" if gateway.token[-2:] != "aa" else "bb")
        assert managed(gateway, method, path, token=wrong)[0] == 401, path
    result = gateway.dcf("function", "delete", "echo", env={"DCF_TOKEN": "wrong"})
    assert result.returncode == 12
    assert gateway.call("echo", b"x") == (200, b"x")


def test_a_client_that_stalls_or_disconnects_in_its_body_leaves_nothing(
    gateway: GatewayProcess,
) -> None:
    head = b"POST /function/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nhalf"
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as stalls:
        stalls.sendall(head)
        assert stalls.recv(100).split()[1] == b"504"
        with contextlib.suppress(ConnectionError):
            while stalls.recv(65_536):
                pass
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as vanishes:
        vanishes.sendall(head)
    gateway.until(lambda: idle(gateway))
    assert gateway.call("echo", b"x") == (200, b"x")


def test_concurrent_deploys_of_a_function_run_one_after_another(
    gateway: GatewayProcess,
) -> None:
    folder = gateway.write("twice", ECHO)
    results: list[subprocess.CompletedProcess[bytes]] = []

    def deploy(timeout: int) -> None:
        config = folder.parent / f"twice-{timeout}"
        config.mkdir()
        for name in ("src", "requirements.txt"):
            (config / name).symlink_to(folder / name)
        text = (folder / "config.yaml").read_text() + f"    timeout: {timeout}\n"
        (config / "config.yaml").write_text(text)
        results.append(
            gateway.dcf("function", "deploy", "twice", "-f", str(config / "config.yaml"))
        )

    threads = [threading.Thread(target=deploy, args=(timeout,)) for timeout in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [deploy.returncode for deploy in results] == [0, 0], [
        deploy.stderr.decode() for deploy in results
    ]
    assert gateway.client.function("twice").revision == 2
    assert gateway.call("twice", b"x") == (200, b"x")
    gateway.client.delete("twice")


def started_beside(
    gateway: GatewayProcess, *options: str, **env: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*CLI, "gateway", "start", *options],
        env={**gateway.env, **env},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_second_gateway_fails_on_the_same_data_directory_or_port(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    result = started_beside(gateway, "--port", str(gateway.port + 1))
    assert result.returncode == 12
    assert gateway.url.encode() in result.stderr
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        own = {"DCF_DATA_DIR": str(tmp_path), "DCF_RUNTIME_DIR": runtime}
        result = started_beside(gateway, "--port", str(gateway.port), **own)
    assert result.returncode == 8
    assert f"port {gateway.port} of 127.0.0.1 is in use".encode() in result.stderr
    assert gateway.call("echo", b"x") == (200, b"x")


def test_neither_token_nor_secret_is_in_a_log_or_a_process_list(gateway: GatewayProcess) -> None:
    secret = "a-secret-that-nobody-may-see"
    gateway.places.secrets.mkdir(exist_ok=True)
    (gateway.places.secrets / "password").write_text(secret)
    handler = "import dcf\n\nclass Handler:\n    def __call__(self, req):\n"
    handler += "        return str(len(dcf.secret('password')))\n"
    gateway.deploy(gateway.write("keeper", handler, config="    secrets: [password]\n"))
    assert gateway.call("keeper") == (200, str(len(secret)).encode())
    for wanted in (secret.encode(), gateway.token.encode()):
        for log in [*gateway.places.gateway.rglob("*.log"), gateway.log]:
            assert wanted not in log.read_bytes(), log
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                assert wanted not in entry.read_bytes(), entry
    gateway.client.delete("keeper")


@needs_mounts
def test_a_full_disk_fails_only_the_deploy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        small = mounted(f"mount -t tmpfs -o size=48m none {data}")
        gateway = GatewayProcess(tmp_path, Path(runtime), before=small)
        # The author's own data is on another disk.
        author = {"DCF_DATA_DIR": str(tmp_path / "author")}
        try:
            gateway.start()
            # The gateway's data is on a disk that this process cannot see.
            token = {
                "DCF_TOKEN": gateway.places.token("127.0.0.1", gateway.port).read_text().strip()
            }
            token |= author
            echo = gateway.write("echo", ECHO)
            result = gateway.dcf("function", "deploy", f"{echo}/", env=token)
            assert result.returncode == 0, result.stderr.decode()
            large = gateway.write("large", ECHO)
            (large / "model.bin").write_bytes(os.urandom(1 << 20) * 64)
            result = gateway.dcf("function", "deploy", f"{large}/", env=token)
            assert result.returncode == 6, result.stderr.decode()
            assert b"no space" in result.stderr
            assert gateway.call("echo", b"x") == (200, b"x")
            assert gateway.get("/system/function/large")[0] == 404
        finally:
            gateway.stop()
