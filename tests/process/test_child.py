"""Child processes: started, read, stopped for certain."""

import os
import sys
import time
from pathlib import Path

import pytest

from dcf.supervision.exit_text import Exit
from process.child import Child


def _child(source: str, **given) -> Child:
    return Child([sys.executable, "-c", source], env=os.environ, cwd=Path("/"), **given)


def test_lines_are_read_as_they_are_written():
    child = _child(
        "import time\nprint('a', flush=True)\ntime.sleep(0.3)\nprint('b\\nrest', end='')"
    )
    assert child.read_line(10) == b"a\n"
    assert child.read_line(0.05) is None
    assert [child.read_line(10), child.read_line(10), child.read_line(10)] == [b"b\n", b"rest", b""]
    assert child.stop(5) == Exit(0)


def test_a_child_that_handles_sigterm_has_its_grace_period():
    child = _child(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), sys.exit(3)))\n"
        "print(flush=True)\ntime.sleep(60)"
    )
    child.read_line(10)
    assert child.stop(10) == Exit(3)


def test_a_child_that_ignores_sigterm_is_killed_with_its_children():
    child = _child(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True)\ntime.sleep(60)"
    )
    grandchild = int(child.read_line(10) or b"0")
    begin = time.monotonic()
    assert child.stop(0.2) == Exit(-9)
    assert time.monotonic() - begin < 3
    until = time.monotonic() + 3
    while Path(f"/proc/{grandchild}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{grandchild}").exists()


def test_stop_may_be_called_twice_and_after_the_end():
    child = _child("raise SystemExit(7)")
    assert child.wait(10) == Exit(7)
    assert child.stop(1) == child.stop(1) == Exit(7)
    assert child.poll() == Exit(7)


def test_a_wait_has_a_timeout():
    child = _child("import time; time.sleep(60)")
    assert child.wait(0.05) is None
    assert child.poll() is None
    child.stop(5)


def test_a_missing_program_is_reported():
    with pytest.raises(FileNotFoundError):
        Child(["/no/such/program"], env={}, cwd=Path("/"))


def test_an_exit_is_described_in_words():
    assert str(Exit(3)) == "exit code 3"
    assert str(Exit(-11)).startswith("killed by SIGSEGV (")
    assert str(Exit(-77)) == "killed by signal 77"
