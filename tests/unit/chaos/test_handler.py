"""The handlers of chaos, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.begun import Begun
from chaos.functions import HANDLER, body_of, version_of
from chaos.handler import REPORTS, Handler
from dcf.errors import DcfError
from dcf.function.request import Request
from dcf.protocol.report import Report

CALL = """
import sys
from handler import Handler
from dcf.function.request import Request
reply = Handler()(Request(sys.argv[1].encode()))
sys.stdout.buffer.write(reply if isinstance(reply, bytes) else b"".join(reply))
"""


def called(
    order: str, begun: Path, *, descriptors: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Make a call in a process of its own; its standard output is the reply."""
    body = body_of("7", order, "hello").decode()
    env = {**os.environ, "VERSION": "v1", "BEGUN": str(begun), "PYTHONPATH": str(HANDLER.parent)}
    return subprocess.run(
        [sys.executable, "-c", CALL, body],
        env=env,
        capture_output=True,
        timeout=30,
        check=False,
        pass_fds=descriptors,
    )


@pytest.mark.parametrize(
    "order", ["echo", "sleep 0.01", "block 0.01", "chunks 5", "pool 2", "terminate", "command"]
)
def test_an_order_is_executed_and_the_rest_is_echoed(order: str, tmp_path: Path) -> None:
    process = called(order, tmp_path / "begun")
    assert process.returncode == 0, process.stderr.decode()
    assert version_of(body_of("7", order, "hello"), process.stdout) == "v1"


def test_a_call_that_begins_is_recorded_even_if_it_ends_its_process(tmp_path: Path) -> None:
    begun = Begun(tmp_path / "begun")
    assert begun.pids("7") == ()
    for code in (0, 9):
        assert called(f"exit {code}", begun.path).returncode == code
    begun.read()
    first, second = begun.pids("7")
    assert first != second
    assert begun.pids("8") == ()


def test_a_record_that_is_still_being_written_is_read_later(tmp_path: Path) -> None:
    begun = Begun(tmp_path / "begun")
    begun.read()
    for written, pids in ((b"1 5\n2", (5,)), (b" 6\n1 8\n", (5, 8))):
        with begun.path.open("ab") as file:
            file.write(written)
        begun.read()
        assert begun.pids("1") == pids
    assert begun.pids("2") == (6,)


def test_a_large_reply_has_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.handler.BEGUN", os.devnull)
    assert len(Handler()(Request(body_of("7", "big 5000", "")))) == 1 + 5000


@pytest.mark.parametrize("number", range(len(REPORTS)))
def test_a_malformed_report_goes_to_every_pipe(number: int, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        process = called(f"report {number}", tmp_path / "begun", descriptors=(writing,))
        assert process.returncode == 0, process.stderr.decode()
        assert os.read(reading, 1 << 16) == REPORTS[number]
        assert process.stdout.startswith(REPORTS[number])
        assert process.stderr.startswith(REPORTS[number])
    finally:
        os.close(reading)
        os.close(writing)


def test_some_reports_cannot_be_parsed() -> None:
    refused = 0
    for report in REPORTS:
        for line in report.splitlines():
            try:
                Report.from_line(line)
            except (ValueError, TypeError, RecursionError, DcfError):
                refused += 1
    assert refused > len(REPORTS) / 2
