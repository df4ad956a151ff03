"""A program under a guard: nothing that it starts outlives it, whatever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcf.supervision.process_tree import MARK, ProcessTree
from unit.builder.kit import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to the guard"),
]

FAMILY = """
import os, signal, subprocess, sys, time
from pathlib import Path
place = Path(sys.argv[1])

def stay(name, env=None):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (place / name).write_text(str(os.getpid()))
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
    os.execve(sys.executable, [sys.executable, "-c", code], os.environ if env is None else env)

def start(name, *steps, env=None):
    if os.fork() == 0:
        for step in steps:
            step()
        stay(name, env)

def leave_parent():
    if os.fork():
        os._exit(0)

start("child")
start("session", os.setsid)
start("orphan", os.setsid, leave_parent)
start("bare", os.setsid, leave_parent, env={})
while len(list(place.iterdir())) < 4:
    time.sleep(0.01)
print("started", file=sys.stderr, flush=True)
if sys.argv[2] == "stays":
    stay("itself")
"""
"""A program that leaves children behind in every way."""

PARENT = """
import os, subprocess, sys
from pathlib import Path
from dcf.supervision.process_tree import ProcessTree
with ProcessTree(
    [sys.executable, "-c", *sys.argv[1:]], env=dict(os.environ), cwd=Path("/"),
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
) as tree:
    for line in tree.lines():
        print(line, flush=True)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Family:
    """Processes that have written their ids into a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()

    @property
    def pids(self) -> list[int]:
        return [int(path.read_text()) for path in self.place.iterdir()]

    def is_gone(self) -> bool:
        return not any(map(is_alive, self.pids))

    def command(self, then: str) -> list[str]:
        return [sys.executable, "-c", FAMILY, str(self.place), then]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path / "pids")
    yield family
    left = [pid for pid in family.pids if is_alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def tree_of(command: list[str], **env: str) -> ProcessTree:
    return ProcessTree(
        command,
        env={**os.environ, **env},
        cwd=Path("/"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def test_processes_that_a_program_leaves_behind_end_with_it(family: Family) -> None:
    with tree_of(family.command("ends")) as tree:
        assert list(tree.lines()) == ["started"]
        assert family.is_gone()
    assert len(family.pids) == 4
    assert tree.returncode == 0


def test_all_processes_end_with_the_block(family: Family) -> None:
    with tree_of(family.command("stays")) as tree:
        assert next(tree.lines()) == "started"
        assert not family.is_gone()
    assert family.is_gone()


def test_all_processes_end_when_another_thread_ends_the_tree(family: Family) -> None:
    with tree_of(family.command("stays")) as tree:
        lines = tree.lines()
        assert next(lines) == "started"
        tree.end()
        tree.end()
        assert list(lines) == []
        assert family.is_gone()


def test_the_wait_for_a_line_has_a_timeout(family: Family) -> None:
    with tree_of(family.command("stays")) as tree:
        lines = tree.lines(time.monotonic() + 1.5)
        assert next(lines) == "started"
        with pytest.raises(TimeoutError):
            next(lines)
    assert family.is_gone()


def group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def alone(process: subprocess.Popen[str]) -> None:
    process.kill()


def interrupt(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("kill", [group, alone, interrupt])
def test_all_processes_end_with_the_process_that_started_them(
    family: Family, kill: Callable[[subprocess.Popen[str]], None]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, *family.command("stays")[2:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "started\n"
        assert not family.is_gone()
        kill(process)
        process.wait(20)
    wait_until(family.is_gone)


def test_processes_of_a_killed_guard_are_found_by_their_mark(tmp_path: Path) -> None:
    script = f"""
import os, subprocess, sys
from pathlib import Path
left = subprocess.Popen(["sleep", "300"], start_new_session=True, stderr=subprocess.DEVNULL)
Path({str(tmp_path / "pid")!r}).write_text(str(left.pid))
print(os.getppid(), file=sys.stderr, flush=True)
left.wait()
"""
    with tree_of([sys.executable, "-c", script]) as tree:
        lines = tree.lines()
        os.kill(int(next(lines)), signal.SIGKILL)
        assert list(lines) == []
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert tree.returncode == 128 + signal.SIGKILL


def test_a_program_sees_its_own_signals_and_descriptors(tmp_path: Path) -> None:
    script = """
import os, signal, sys
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert os.getpgrp() == int(sys.argv[1]) and os.getsid(0) == int(sys.argv[2])
print(sorted(os.listdir("/proc/self/fd")), file=sys.stderr)
os.kill(os.getpid(), signal.SIGUSR1)
"""
    with (tmp_path / "held").open("w") as held:
        numbers = [str(os.getpgrp()), str(os.getsid(0))]
        command = [sys.executable, "-I", "-S", "-c", script, *numbers]
        with ProcessTree(
            command,
            env={},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[held.fileno()],
        ) as tree:
            (line,) = tree.lines()
        # 0 to 2, the inherited descriptor, and that of the listing itself.
        assert len(line.split()) == 5
        assert f"'{held.fileno()}'" in line
    assert tree.returncode == 128 + signal.SIGUSR1


def test_a_program_that_cannot_be_started_is_reported() -> None:
    with tree_of(["/no/such/program"]) as tree:
        assert list(tree.lines()) == [
            "/no/such/program cannot be started: No such file or directory"
        ]
    assert tree.returncode == 127


def test_each_tree_has_its_own_mark() -> None:
    marks = []
    for _ in range(2):
        with tree_of(["sh", "-c", f'echo "${MARK}" >&2']) as tree:
            marks += list(tree.lines())
    assert len(set(marks)) == 2
