"""``function serve`` answers, reloads, and restarts replicas."""

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dcf.cli.exit_codes import ExitCode

CLI = [sys.executable, "-m", "dcf.cli"]


class Serving:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self.wait_for("Serving ").rpartition(" at ")[2].strip()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def wait_for(self, text: str, seconds: float = 60) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            matches = [line for line in self.lines if text in line]
            if matches:
                return matches[-1]
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)
        raise AssertionError(f"{text!r} never came: {self.lines}")

    def call(self, body: bytes = b"") -> bytes:
        with urllib.request.urlopen(self.url, body, timeout=10) as reply:
            return bytes(reply.read())

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def serving(environment, tmp_path: Path):
    started: list[Serving] = []

    def start(source: str, *options: str) -> tuple[Serving, Path]:
        folder = tmp_path / "mine"
        (folder / "src").mkdir(parents=True)
        (folder / "config.yaml").write_text("functions:\n  mine:\n    runtime: python\n")
        handler = folder / "src" / "handler.py"
        handler.write_text(source)
        process = subprocess.Popen(
            [*CLI, "function", "serve", "mine", "--port", "0", *options],
            cwd=tmp_path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        serving = Serving(process)
        started.append(serving)
        return serving, handler

    yield start
    for serving in started:
        if serving.process.poll() is None:
            serving.stop(signal.SIGTERM)


def test_it_answers_until_it_is_interrupted(serving):
    server, _ = serving("def Handler(req): return req.input + b'!'")
    assert [server.call(b"a"), server.call(b"b")] == [b"a!", b"b!"]
    assert server.stop() == ExitCode.INTERRUPTED


def test_a_request_for_another_host_is_rejected(serving):
    server, _ = serving("def Handler(req): return b'in'", "--allow-host", "Dcf.Example.com")

    def ask(host: str) -> int:
        request = urllib.request.Request(server.url, b"x", {"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert [ask(host) for host in ("evil.example", "evil.example:80", "example.com")] == [421] * 3
    good = ("dcf.example.com", "x.localhost:1", "192.0.2.1", socket.gethostname())
    assert [ask(host) for host in good] == [200] * 4


def test_a_change_takes_effect_within_a_second_and_no_call_fails(serving):
    server, handler = serving("def Handler(req): return b'1'", "--reload")
    failures: list[OSError] = []
    stopped = threading.Event()

    def load() -> None:
        while not stopped.is_set():
            try:
                server.call()
            except OSError as error:
                failures.append(error)

    caller = threading.Thread(target=load)
    caller.start()
    took = []
    for version in (b"2", b"3", b"4"):
        handler.write_text(f"def Handler(req): return {version!r}")
        begin = time.monotonic()
        while server.call() != version and time.monotonic() - begin < 10:
            time.sleep(0.01)
        took.append(time.monotonic() - begin)
    stopped.set()
    caller.join()
    assert failures == []
    assert sorted(took)[1] < 1.0


def test_a_change_during_a_start_is_not_missed(serving, tmp_path):
    handler = tmp_path / "mine" / "src" / "handler.py"
    server, _ = serving(
        "from pathlib import Path\n"
        f"Path({str(handler)!r}).write_text('def Handler(req): return b\"new\"')\n"
        "def Handler(req): return b'old'",
        "--reload",
    )
    server.wait_for("Reloaded in")
    assert server.call() == b"new"


def test_after_a_broken_change_the_previous_version_keeps_serving(serving):
    server, handler = serving("def Handler(req): return b'good'", "--reload")
    handler.write_text("def Handler(req: return b'bad'")
    server.wait_for("The previous version keeps serving.")
    assert any("SyntaxError" in line for line in server.lines)
    assert server.call() == b"good"
    handler.write_text("def Handler(req): return b'better'")
    server.wait_for("Reloaded in")
    assert server.call() == b"better"


def test_a_changed_config_takes_effect(serving):
    server, handler = serving("def Handler(req): return b'old'", "--reload")
    (handler.parent / "other.py").write_text("def Handler(req): return b'other'")
    config = handler.parents[1] / "config.yaml"
    config.write_text(config.read_text() + "    handler: {file: other.py}\n")
    server.wait_for("Reloaded in")
    until = time.monotonic() + 5
    while server.call() != b"other" and time.monotonic() < until:
        time.sleep(0.05)
    assert server.call() == b"other"


def test_a_replica_that_exits_is_replaced(serving):
    server, _ = serving(
        "import os\ndef Handler(req):\n    if req.input: os._exit(3)\n    return b'fine'"
    )
    with pytest.raises(http.client.RemoteDisconnected):
        server.call(b"die")
    server.wait_for("The replica ended (exit code 3)")
    assert server.call() == b"fine"


def test_serve_gives_up_a_replica_that_keeps_exiting(serving):
    server, _ = serving(
        "import os, threading\n"
        "class Handler:\n"
        "    def __init__(self): threading.Timer(0.1, os._exit, [4]).start()\n"
        "    def __call__(self, req): return b''\n"
    )
    assert server.process.wait(60) == ExitCode.START
    server.stop()
    assert any("ended 6 times in a row, last by exit code 4" in line for line in server.lines)


def test_a_replica_is_replaced_by_the_version_that_was_served(serving):
    server, handler = serving(
        "import os\ndef Handler(req):\n    if req.input: os._exit(3)\n    return b'served'"
    )
    handler.write_text("def Handler(req): return b'edited'")
    with pytest.raises(http.client.RemoteDisconnected):
        server.call(b"die")
    server.wait_for("The replica ended (exit code 3)")
    assert server.call() == b"served"


def test_an_error_in_a_call_is_printed_with_its_traceback(serving):
    server, handler = serving("def Handler(req): return {}[1]")
    with pytest.raises(urllib.request.HTTPError) as caught:
        server.call()
    with caught.value as error:
        assert error.code == 500
        assert error.headers["content-type"] == "application/problem+json"
    server.wait_for("KeyError: 1")
    assert any(f'File "{handler}", line 1' in line for line in server.lines)


def test_a_port_in_use_is_an_error(dcf, serving, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        folder = tmp_path / "other"
        (folder / "src").mkdir(parents=True)
        (folder / "config.yaml").write_text("functions:\n  other:\n    runtime: python\n")
        (folder / "src" / "handler.py").write_text("def Handler(req): return b''")
        port = str(taken.getsockname()[1])
        result = dcf("function", "serve", folder, "--port", port)
    assert result.returncode == ExitCode.START
    assert (
        f"port {port} of 127.0.0.1 cannot be used: Address already in use" in result.stderr.decode()
    )


def test_a_handler_that_cannot_start_ends_serve_at_once(dcf, tmp_path):
    folder = tmp_path / "broken"
    (folder / "src").mkdir(parents=True)
    (folder / "config.yaml").write_text("functions:\n  broken:\n    runtime: python\n")
    (folder / "src" / "handler.py").write_text("raise RuntimeError('no model')")
    result = dcf("function", "serve", folder, "--port", "0")
    assert result.returncode == ExitCode.START
    assert b"RuntimeError: no model" in result.stderr
