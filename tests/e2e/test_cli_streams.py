"""``--stream`` of `run` and `call` in a pipe, with each command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcf.cli.exit_codes import ExitCode

CLI = (sys.executable, "-m", "dcf.cli")
PATIENCE = 60

SHOUT = """
import os

class Handler:
    def __call__(self, req):
        for message in req.stream:
            if message == b"raise":
                raise ValueError("not today")
            if message == b"exit":
                os._exit(7)
            yield message.upper()
"""
JSON = "def Handler(req):\n    return {'got': req.json()}\n"
CONFIG = "functions:\n  {name}:\n    runtime: python\n"


def _folder(place: Path, name: str, source: str) -> Path:
    folder = place / name
    (folder / "src").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(name=name))
    (folder / "src" / "handler.py").write_text(source)
    (folder / "requirements.txt").write_text("")
    return folder


@pytest.fixture(scope="module")
def shout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory.mktemp("functions"), "shout", SHOUT)


@pytest.fixture(scope="module")
def url(serve: Callable[[Path], str], shout: Path) -> str:
    return serve(shout)


@pytest.fixture(params=["call", "run"])
def command(request, shout: Path, url: str) -> tuple[str, ...]:
    """Return the two commands that open a stream."""
    if request.param == "run":
        return (*CLI, "function", "run", str(shout), "--stream")
    return (*CLI, "function", "call", "shout", "--stream", "-g", url)


@pytest.fixture
def started(environment) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    with contextlib.ExitStack() as stack:

        def start(command: tuple[str, ...], *more: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*command, *more],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def _read(process: subprocess.Popen[bytes], size: int) -> bytes:
    assert process.stdout is not None
    return process.stdout.read(size)


def test_each_line_is_answered_before_the_next_line_is_sent(started, command):
    process = started(command)
    for line in (b"one\n", b"\n", b"two\n"):
        _write(process, line)
        assert _read(process, len(line)) == line.upper()
    out, _ = process.communicate(b"three", timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"THREE\n")


def test_chunks_of_bytes_are_messages_and_arrive_unchanged(started, command):
    body = bytes(range(97)) * 3000
    process = started(command, "--frames", "raw:1000")
    out, _ = process.communicate(body, timeout=PATIENCE)
    assert (process.returncode, out) == (0, body)


def test_an_exception_of_the_handler_ends_the_command_while_it_waits_for_input(started, command):
    process = started(command)
    _write(process, b"one\nraise\n")
    assert process.wait(PATIENCE) == ExitCode.CALL
    assert _read(process, 100) == b"ONE\n"
    assert process.stderr is not None
    errors = process.stderr.read()
    assert b'raise ValueError("not today")' in errors
    assert b"Error: ValueError: not today" in errors


def test_a_replica_that_exits_is_reported(started, command):
    process = started(command)
    _write(process, b"one\nexit\n")
    assert process.wait(PATIENCE) == ExitCode.LOST
    assert process.stderr is not None
    if "run" in command:
        assert b"exit code 7" in process.stderr.read()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_it_can_be_interrupted_while_it_waits_for_input(started, command, number, code):
    process = started(command)
    _write(process, b"one\n")
    assert _read(process, 4) == b"ONE\n"
    process.send_signal(number)
    assert process.wait(PATIENCE) == code
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_a_reader_that_closes_early_ends_the_command(started, command):
    process = started(command)
    _write(process, b"one\n")
    assert _read(process, 4) == b"ONE\n"
    assert process.stdout is not None
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(100):
            _write(process, b"more\n")
            if process.poll() is not None:
                break
            time.sleep(0.05)
    assert process.wait(PATIENCE) == 0
    with contextlib.suppress(BrokenPipeError):
        assert process.stdin is not None
        process.stdin.close()


def test_a_slow_reader_slows_the_input_down(started, url):
    process = started(
        (*CLI, "function", "call", "shout", "--stream", "-g", url, "--frames", "raw:100000")
    )
    _write(process, b"x" * 100_000)
    assert len(_read(process, 100_000)) == 100_000
    assert process.stdin is not None
    pipe = process.stdin.fileno()
    os.set_blocking(pipe, False)
    sent = 0
    while select.select([], [pipe], [], 0.5)[1]:
        sent += os.write(pipe, b"x" * 65536)
        assert sent < 100_000_000
    assert sent > 1_000_000
    process.kill()


def test_run_answers_each_message(dcf, tmp_path):
    folder = _folder(tmp_path, "parse", JSON)
    result = dcf("function", "run", folder, "--stream", input=b'{"a": 1}\n{\n[2]\n')
    assert (result.returncode, result.stdout) == (
        ExitCode.CALL,
        b'{"got": {"a": 1}}\n{"got": [2]}\n',
    ), result.stderr
    assert b"is not valid JSON" in result.stderr


def test_run_reads_a_file_and_reports_a_missing_file_before_the_build(dcf, shout, tmp_path):
    (tmp_path / "in").write_bytes(b"a\nb\n")
    result = dcf(
        "function",
        "run",
        shout,
        "--stream",
        "--input",
        tmp_path / "in",
        "--reply",
        tmp_path / "out",
    )
    assert (result.returncode, (tmp_path / "out").read_bytes()) == (0, b"A\nB\n")
    missing = dcf("function", "run", shout, "--stream", "--input", tmp_path / "nothing")
    assert missing.returncode == ExitCode.USAGE
    assert b"Starting" not in missing.stderr


def test_a_handler_that_cannot_start_does_not_wait_for_a_message(started, tmp_path):
    folder = _folder(tmp_path, "broken", "raise OSError('no model')")
    process = started((*CLI, "function", "run", str(folder), "--stream"))
    assert process.wait(PATIENCE) == ExitCode.START
