"""A build and the processes of the packages that it builds end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.builder.store import Store
from dcf.errors import BuildError, BuildTimeout
from dcf.model.function import FunctionSpec
from unit.builder.kit import (
    Heard,
    make_builder,
    make_folder,
    make_runtime_wheels,
    names,
    private_environment,
    wait_until,
)

pytestmark = pytest.mark.slow

BACKEND = """
import os, signal, subprocess, sys, time
from pathlib import Path

place = Path({place!r})

def stay(name, *steps, env=None):
    if os.fork() == 0:
        for step in steps:
            step()
        (place / name).write_text(str(os.getpid()))
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
        os.execve(sys.executable, [sys.executable, "-c", code], os.environ if env is None else env)

def leave_parent():
    if os.fork():
        os._exit(0)

def build_wheel(folder, settings=None, metadata=None):
    stay("compiler")
    stay("session", os.setsid)
    stay("bare", os.setsid, leave_parent, env={{}})
    while len(list(place.iterdir())) < 3:
        time.sleep(0.01)
    (place / "backend").write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(300)
"""
"""A build backend that hangs, and whose children leave it in every way."""

DYNAMIC = """
def get_requires_for_build_wheel(settings=None):
    return []

def prepare_metadata_for_build_wheel(folder, settings=None):
    build_wheel(folder)
"""

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "hangs"
{version}
"""


class Bench:
    """A function with a package whose build hangs."""

    def __init__(self, place: Path) -> None:
        self.pids = place / "pids"
        self.pids.mkdir()
        self.folder = make_folder(place / "f", "./hangs\n")
        package = self.folder / "hangs"
        package.mkdir()
        (package / "pyproject.toml").write_text(PROJECT.format(version='version = "1.0"'))
        (package / "backend.py").write_text(BACKEND.format(place=str(self.pids)))
        (self.folder / "config.yaml").write_text(
            "functions:\n  f:\n    runtime: python\n    handler: {name: handle}\n"
        )
        self.store = Store(place / "data" / "store")
        self.env = private_environment(place, make_runtime_wheels(place / "wheels"))
        self.env |= {"DCF_DATA_DIR": str(place / "data"), "DCF_RUNTIME_DIR": str(place / "run")}

    def make_dynamic(self) -> None:
        """Make the lock need a build as well."""
        package = self.folder / "hangs"
        (package / "pyproject.toml").write_text(PROJECT.format(version='dynamic = ["version"]'))
        with (package / "backend.py").open("a") as file:
            file.write(DYNAMIC)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dcf.cli", "function", *arguments, str(self.folder)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hangs(self) -> bool:
        return len(names(self.pids)) == 4

    def is_over(self) -> bool:
        return not any(is_alive(int(path.read_text())) for path in self.pids.iterdir())


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for path in bench.pids.iterdir():
        if is_alive(pid := int(path.read_text())):
            os.kill(pid, signal.SIGKILL)
            pytest.fail(f"{path.name} outlived its build")


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        ("build", signal.SIGINT, 130),
        ("build", signal.SIGTERM, 143),
        ("build", signal.SIGKILL, -9),
        ("run", signal.SIGINT, 130),
        ("run", signal.SIGKILL, -9),
        ("serve", signal.SIGTERM, 143),
    ],
)
def test_a_command_that_ends_ends_its_build(
    bench: Bench, command: str, number: int, code: int
) -> None:
    process = bench.start(command)
    wait_until(bench.hangs)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    wait_until(bench.is_over)
    if number != signal.SIGKILL:
        assert names(bench.store.environments) == []
        assert names(bench.store.scratch) == []


def test_ctrl_c_ends_a_build_that_ignores_it(bench: Bench) -> None:
    process = bench.start("build")
    wait_until(bench.hangs)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert bench.is_over()


def test_a_kill_of_the_process_group_ends_processes_that_have_left_it(bench: Bench) -> None:
    process = bench.start("build")
    wait_until(bench.hangs)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    wait_until(bench.is_over)


def test_a_lock_that_needs_a_build_ends_with_its_command(bench: Bench) -> None:
    bench.make_dynamic()
    process = bench.start("build")
    wait_until(bench.hangs)
    process.kill()
    process.communicate(timeout=20)
    wait_until(bench.is_over)


@pytest.mark.parametrize("step", ["environment", "lock"])
def test_a_build_over_its_time_limit_is_ended_and_its_package_named(
    bench: Bench, step: str
) -> None:
    if step == "lock":
        bench.make_dynamic()
    bench.env["DCF_BUILD_TIMEOUT"] = "12"
    process = bench.start("build")
    _, output = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "expected the build to end within 12 s (DCF_BUILD_TIMEOUT), got a timeout" in output
    assert "while it worked on hangs" in output
    assert bench.hangs()
    assert bench.is_over()
    assert names(bench.store.environments) == []


def test_the_time_limit_counts_all_steps_of_one_build_and_no_other(bench: Bench) -> None:
    bench.env["DCF_BUILD_TIMEOUT"] = "12"
    builder = make_builder(bench.store.root, bench.env, Heard())
    for _ in range(2):
        with pytest.raises(BuildTimeout, match="worked on hangs"):
            builder.build(bench.folder, FunctionSpec("f"))
        assert bench.is_over()
    assert issubclass(BuildTimeout, BuildError)


def test_a_time_limit_that_is_not_a_number_is_rejected(bench: Bench) -> None:
    bench.env["DCF_BUILD_TIMEOUT"] = "soon"
    process = bench.start("build")
    _, output = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "DCF_BUILD_TIMEOUT" in output
