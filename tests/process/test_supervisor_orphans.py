"""The descendants of a run end with it, however they have detached, and not before it."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from dcf.supervision.process_messages import ProcessEventKind, ProcessSpec
from process.supervised import Watch, alive, booted, gone, until

pytestmark = pytest.mark.slow

DETACH = """
import os, subprocess, sys, time

def tell(pid):
    with open({file!r}, "a") as file: print(pid, file=file, flush=True)

def away():
    os.setsid()
    os.chdir("/")
    os.closerange(0, 3)

def fork(*more):
    if os.fork() == 0:
        away()
        if more: fork(*more[1:])
        else:
            tell(os.getpid())
            time.sleep(600)
        os._exit(0)
"""

WAYS = {
    "a session of its own": "subprocess.Popen(['sleep', '600'], start_new_session=True, close_fds=True)",
    "a session of its own and no variables": (
        "subprocess.Popen(['/bin/sleep', '600'], start_new_session=True, env={}, stdin=-3, stdout=-3,"
        " stderr=-3, cwd='/')"
    ),
}
POPEN = "import time; child = {popen}; tell(child.pid)\ntime.sleep(600)"
FORKS = {
    "a fork": "fork(); time.sleep(600)",
    "a fork of a fork": "fork(1); time.sleep(600)",
    "a program of a fork of a fork": """
if os.fork() == 0:
    away()
    if os.fork() == 0:
        tell(os.getpid())
        os.execve("/bin/sleep", ["sleep", "600"], {})
    os._exit(0)
time.sleep(600)
""",
}
ALL = {name: POPEN.format(popen=popen) for name, popen in WAYS.items()} | FORKS


def spec(name: str, file: Path, source: str) -> ProcessSpec:
    env = {"PATH": os.environ["PATH"], "TEST_RUN_MARK": os.environ["TEST_RUN_MARK"]}
    source = DETACH.format(file=str(file)) + source
    return ProcessSpec(name, (sys.executable, "-I", "-S", "-c", source), env, "/", lifeline=True)


async def pid_in(file: Path) -> int:
    await until(partial(_has_pid, file))
    return int(file.read_text())  # noqa: ASYNC240  a few bytes that are there


async def _has_pid(file: Path) -> bool:
    return await asyncio.to_thread(lambda: file.exists() and file.read_text().endswith("\n"))


@pytest.mark.parametrize("source", ALL.values(), ids=ALL)
@pytest.mark.parametrize("end", ["asked", "killed", "supervisor killed"])
def test_no_descendant_of_a_run_outlives_it(short_dir, tmp_path, source, end):
    async def main():
        async with booted(short_dir / "s") as up, Watch(up.client) as watch:
            process = await up.client.start(spec("a", tmp_path / "pid", source))
            pid = await pid_in(tmp_path / "pid")
            assert alive(pid)
            if end == "asked":
                await up.client.stop("a", 0.1)
            elif end == "killed":
                os.kill(process.pid, 9)
                await watch.until(ProcessEventKind.EXITED, "a")
            else:
                up.kill()
                return pid
            await gone(pid)
            return 0

    async def after(pid):
        async with booted(short_dir / "s"):
            await gone(pid)

    if pid := asyncio.run(main()):
        asyncio.run(after(pid))


def test_an_orphan_lives_as_long_as_its_run_while_others_end(short_dir, tmp_path):
    async def main():
        async with booted(short_dir / "s") as up, Watch(up.client) as watch:
            await up.client.start(spec("a", tmp_path / "a", FORKS["a program of a fork of a fork"]))
            await up.client.start(spec("b", tmp_path / "b", FORKS["a fork of a fork"]))
            first, second = await pid_in(tmp_path / "a"), await pid_in(tmp_path / "b")
            await up.client.stop("b", 0.1)
            await watch.until(ProcessEventKind.FORGOTTEN, "b")
            await gone(second)
            assert alive(first)
            await up.client.stop("a", 0.1)
            await gone(first)

    asyncio.run(main())


def test_an_orphan_that_ends_is_reaped(short_dir, tmp_path):
    source = """
for _ in range(3):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.1)
        os._exit(0)
tell(1)
time.sleep(600)
"""

    async def main():
        async with booted(short_dir / "s") as up:
            process = await up.client.start(spec("a", tmp_path / "a", source))
            await pid_in(tmp_path / "a")
            children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children")

            async def is_alone() -> bool:
                text = await asyncio.to_thread(children.read_text)
                return text.split() == [str(process.pid)]

            await until(is_alone)

    asyncio.run(main())
