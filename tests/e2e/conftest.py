"""Fixtures that run the command line in a process of its own, and the examples in a copy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from e2e.gateway_process import GatewayProcess, running
from ports import free_port

ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "dcf.cli")
RUN_SECONDS = 150
"""Seconds for one command. The first command of a function downloads its packages."""


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy examples/, because a build writes a lock beside requirements.txt."""
    copy = tmp_path_factory.mktemp("checkout") / "examples"
    out = shutil.ignore_patterns("__pycache__", "requirements.lock")
    shutil.copytree(ROOT / "examples", copy, ignore=out)
    return copy


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the user's environment with an empty store, which the tests of a session share.

    uv's cache stays the user's, so that packages are downloaded once and not once per session.
    """
    base = {name: value for name, value in os.environ.items() if not name.startswith("DCF_")}
    # The path of a socket must be short; pytest's own folders may be too long.
    with tempfile.TemporaryDirectory(prefix="dcf-e2e-", dir="/tmp") as runtime:
        data = tmp_path_factory.mktemp("data")
        yield base | {"DCF_DATA_DIR": str(data), "DCF_RUNTIME_DIR": runtime}


@pytest.fixture(scope="session")
def dcf(environment: Mapping[str, str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run ``dcf("function", "run", folder, input=b"...", cwd=..., env=...)`` until it exits."""

    def command(
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002  the name that subprocess.run uses
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*CLI, *map(str, arguments)],
            input=input,
            capture_output=True,
            cwd=cwd,
            env={**environment, **(env or {})},
            timeout=RUN_SECONDS,
            check=False,
        )

    return command


@pytest.fixture(scope="module")
def serve(environment: Mapping[str, str]) -> Iterator[Callable[[Path], str]]:
    """Serve a function with ``serve(folder)`` until the last test of the module; return its URL."""
    running: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> str:
        port = free_port()
        arguments = [*CLI, "function", "serve", str(folder), "--port", str(port)]
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**environment, "SHARED_BY_TESTS": "1"},
        )
        running.append(process)
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + RUN_SECONDS
        while not _is_ready(url):
            assert process.poll() is None, f"serve ended with {process.returncode}"
            assert time.monotonic() < end, "serve is not ready"
            time.sleep(0.1)
        return url

    yield start
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@pytest.fixture(scope="session")
def example_gateway(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]
) -> Iterator[GatewayProcess]:
    """Run a gateway for the modules that deploy examples.

    It has the session's store, so that an example is built only once.
    """
    data = Path(environment["DCF_DATA_DIR"])
    with running(tmp_path_factory.mktemp("gateway"), shared=True, data=data) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def author() -> Iterator[Callable[[Path, str], Any]]:
    """Import a module of a function with ``author(folder, "handler")``, as its author's
    tests do."""
    before, path = set(sys.modules), sys.path.copy()

    def imported(folder: Path, name: str) -> Any:
        sys.path.insert(0, str(folder / "src"))
        return import_module(name)

    yield imported
    sys.path[:] = path
    for name in set(sys.modules) - before:
        # Another function also has a module `handler`.
        if "examples" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def call() -> Callable[..., tuple[int, str, bytes]]:
    """Post with ``call(url, body, {"Accept": "image/png"})``; return status, content type
    and body."""

    def post(
        url: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, bytes]:
        request = urllib.request.Request(url, body, dict(headers or {}), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.headers["content-type"], reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["content-type"], error.read()

    return post


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
