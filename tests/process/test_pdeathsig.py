"""Programs that end with their parent."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcf.supervision.pdeathsig import bound

PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
child.wait()
"""


def test_it_becomes_the_program():
    command = bound([sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(7)"])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        output, _ = child.communicate()
    assert (int(output), child.returncode) == (child.pid, 7)


def test_a_missing_program_is_reported():
    done = subprocess.run(bound(["/no/program"]), capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert done.stderr == "/no/program cannot be started: No such file or directory\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_it_ends_when_its_parent_is_killed():
    command = [sys.executable, "-c", PARENT, *bound(["sleep", "60"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        until(lambda: name(pid) == "sleep")
        parent.send_signal(signal.SIGKILL)
        until(lambda: not alive(pid))


def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
