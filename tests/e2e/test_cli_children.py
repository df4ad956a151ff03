"""No child outlives its replica in ``run`` and ``serve``, however it was started and however they end."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.cli.exit_codes import ExitCode
from process.supervised import alive

CLI = [sys.executable, "-m", "dcf.cli"]

START = """
import os, subprocess, sys, time

def record(pid):
    with open({file!r}, "a") as file: print(pid, file=file, flush=True)

def away():
    os.setsid()
    os.chdir("/")
    os.closerange(0, 3)

def child():
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env={{}}, cwd="/",
                               stdin=-3, stdout=-3, stderr=-3)
    record(process.pid)

def fork_of_a_fork():
    if os.fork() == 0:
        away()
        if os.fork() == 0:
            record(os.getpid())
            os.execve("/bin/sleep", ["sleep", "600"], {{}})
        os._exit(0)
"""

HANDLER = """
{way}()
def Handler(req):
    record(0)
    if req.input == b"crash": os._exit(3)
    if req.input == b"wait": time.sleep(600)
    return b"reply"
"""

WAYS = ("child", "fork_of_a_fork")


class Function:
    """A function whose replica leaves a child behind, and the ids of these children."""

    def __init__(self, folder: Path, way: str) -> None:
        self.folder = folder / "mine"
        self.file = folder / "pids"
        self.handler = self.folder / "src" / "handler.py"
        self.handler.parent.mkdir(parents=True)
        (self.folder / "config.yaml").write_text("functions:\n  mine:\n    runtime: python\n")
        self.write(way)

    def write(self, way: str, more: str = "") -> None:
        source = START.format(file=str(self.file)) + HANDLER.format(way=way) + more
        self.handler.write_text(source)

    def pids(self, lines: int) -> list[int]:
        """Wait for this many lines of the handler; return the ids of the children in order."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found = self.file.read_text().split() if self.file.exists() else []
            if len(found) >= lines:
                return [int(word) for word in found if word != "0"]
            time.sleep(0.02)
        raise AssertionError("the handler recorded too few lines")


@contextlib.contextmanager
def command(
    environment, *words: str, body: bytes | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*CLI, *words],
        env=dict(environment),
        stdin=subprocess.PIPE if body is not None else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if process.stdin is not None and body is not None:
            process.stdin.write(body)
            process.stdin.close()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


def ended(pid: int, patience: float = 10.0) -> bool:
    until = time.monotonic() + patience
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("way", WAYS)
def test_a_child_ends_with_run(dcf, tmp_path, way):
    function = Function(tmp_path, way)
    result = dcf("function", "run", function.folder, input=b"x")
    assert (result.returncode, result.stdout) == (0, b"reply")
    assert not alive(function.pids(2)[0])


def test_a_child_ends_with_a_handler_that_cannot_start(dcf, tmp_path):
    function = Function(tmp_path, "fork_of_a_fork")
    function.write("fork_of_a_fork", "time.sleep(0.5)\n1 / 0\n")
    assert dcf("function", "run", function.folder, input=b"x").returncode == ExitCode.START
    assert not alive(function.pids(1)[0])


@pytest.fixture(autouse=True)
def _default_hangup():
    """Make SIGHUP end commands, even if the tests run under ``nohup``, which ignores it."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGHUP, -signal.SIGHUP),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_child_ends_with_a_run_that_is_ended(environment, tmp_path, way, number, code):
    function = Function(tmp_path, way)
    with command(environment, "function", "run", str(function.folder), body=b"wait") as process:
        pid = function.pids(2)[0]
        assert alive(pid)
        process.send_signal(number)
        assert process.wait(20) == code
        assert ended(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_child_ends_with_serve(environment, tmp_path, number):
    function = Function(tmp_path, "fork_of_a_fork")
    serve = ("function", "serve", str(function.folder), "--port", "0")
    with command(environment, *serve) as process:
        pid = function.pids(1)[0]
        process.send_signal(number)
        process.wait(20)
        assert ended(pid)


def test_a_child_ends_with_its_replica_while_serve_continues(environment, tmp_path):
    function = Function(tmp_path, "fork_of_a_fork")
    serve = ("function", "serve", str(function.folder), "--port", "0", "--reload")
    with command(environment, *serve) as process:
        first = function.pids(1)[0]
        function.write("fork_of_a_fork", "\n")
        _, second = function.pids(2)
        assert ended(first)
        assert alive(second)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert not alive(second)


def test_what_a_killed_run_has_left_is_removed_by_the_next(dcf, environment, tmp_path):
    function = Function(tmp_path, "child")
    workspaces = Path(environment["DCF_DATA_DIR"]) / "workspaces"
    with command(environment, "function", "run", str(function.folder), body=b"wait") as process:
        function.pids(2)
        process.kill()
        process.wait(20)
    left = set(workspaces.iterdir())
    assert left
    assert dcf("function", "run", function.folder, input=b"x").returncode == 0
    assert not left & set(workspaces.iterdir())


def test_the_orphans_of_a_parent_do_not_end_before_it(dcf, tmp_path):
    """A child of a replica keeps running between the calls."""
    function = Function(tmp_path, "fork_of_a_fork")
    function.write(
        "fork_of_a_fork",
        "\n_first = Handler\n"
        "def Handler(req):\n"
        "    while not os.path.exists(FILE): time.sleep(0.02)\n"
        "    pid = max(int(word) for word in open(FILE).read().split())\n"
        "    os.kill(pid, 0)\n"
        "    return _first(req)\n".replace("FILE", repr(str(function.file))),
    )
    assert dcf("function", "run", function.folder, input=b"x").stdout == b"reply"
    assert not alive(function.pids(2)[0])


@pytest.mark.parametrize("key", ["memory", "cpu"])
def test_limits_hold_in_run(dcf, tmp_path, key):
    folder = tmp_path / "mine"
    (folder / "src").mkdir(parents=True)
    amount = {"memory": "256Mi", "cpu": "0.5"}[key]
    (folder / "config.yaml").write_text(
        f"functions:\n  mine:\n    runtime: python\n    limits: {{{key}: {amount}}}\n"
    )
    (folder / "src" / "handler.py").write_text(
        "import os\n"
        "def Handler(req):\n"
        "    if req.input == b'take': return str(len(b'x' * (400 << 20)))\n"
        "    return os.environ.get('OMP_NUM_THREADS', 'unset')\n"
    )
    result = dcf("function", "run", folder, input=b"take" if key == "memory" else b"x")
    shown = result.stderr.decode()
    if key == "memory":
        assert result.returncode in {ExitCode.CALL, ExitCode.LOST}
        assert "Limit: memory: 256 MiB (" in shown
        assert "MemoryError" in shown or "exceeded its memory limit" in shown
    else:
        assert result.stdout == b"1"
        assert "Limit: cpu: " in shown
    assert "not in run and serve" not in shown
