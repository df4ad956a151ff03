"""The supervisor with real processes: start, observe, logs, stop, restart."""

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys

import pytest

from dcf.errors import (
    ProcessNotStarted,
    ProcessUnknown,
    RequestInvalid,
)
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import LogBound, ProcessEventKind, ProcessSpec
from dcf.supervision.states import ProcessState
from dcf.supervision.supervisor_client import socket_of
from process.supervised import (
    Watch,
    alive,
    booted,
    gone,
    python,
    sleeper,
    status,
    timed,
    until,
)


async def texts(stream) -> list[str]:
    async with contextlib.aclosing(stream):
        return [line.text async for line in stream]


def test_a_process_from_its_start_to_its_stop(short_dir):
    async def main():
        async with booted(short_dir) as up:
            source = "import sys; print('one', flush=True); print('two', file=sys.stderr); input()"
            spec = python("a", source, reports=True, lifeline=True)
            first, again = await asyncio.gather(up.client.start(spec), up.client.start(spec))
            assert (first.state, first.pid) == (ProcessState.RUNNING, again.pid)
            assert os.getsid(first.pid) == os.getpgid(first.pid) == first.pid

            async def has_reported() -> bool:
                return (await status(up.client, "a")).reports == ("one",)

            await until(has_reported)
            assert await texts(up.client.logs("a")) == ["two"]
            exit_ = await up.client.stop("a", 5)
            assert exit_ is not None
            assert (exit_.code, exit_.asked, exit_.report) == (-15, True, "one")
            assert exit_.reason == "killed by SIGTERM (Terminated)"
            assert await up.client.list() == ()
            assert await up.client.stop("a", 5) is None
            assert await texts(up.client.logs("a")) == ["two"]

    asyncio.run(main())


def test_all_events_are_observed(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            assert watch.first == ()
            await up.client.start(python("a", "print('x' * 9); raise SystemExit(3)", reports=True))
            ended = await watch.until(ProcessEventKind.EXITED, "a")
            assert ended.exit is not None
            assert (ended.exit.code, ended.exit.reason) == (3, "exit code 3")
            assert (ended.exit.report, ended.exit.asked) == ("x" * 9, False)
            kinds = [event.kind for event in watch.events]
            assert kinds == [
                ProcessEventKind.STARTED,
                ProcessEventKind.REPORTED,
                ProcessEventKind.EXITED,
            ]
            # Until it is stopped, later observers see its end, and its name is taken.
            exited = await status(up.client, "a")
            assert (exited.state, exited.exit) == (ProcessState.EXITED, ended.exit)
            async with Watch(up.client) as late:
                assert late.first == (exited,)
            assert await up.client.start(sleeper("a")) == exited
            assert await up.client.stop("a", 5) == ended.exit
            await watch.until(ProcessEventKind.FORGOTTEN, "a")

    asyncio.run(main())


def test_a_process_that_ignores_sigterm_is_killed_with_its_group(short_dir):
    source = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        "time.sleep(600)"
    )

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            await up.client.start(python("deaf", source, reports=True))
            child = int((await watch.until(ProcessEventKind.REPORTED, "deaf")).report)
            took = timed()
            exits = await asyncio.gather(
                up.client.stop("deaf", 60), up.client.stop("deaf", 0.3), up.client.stop("deaf", 60)
            )
            assert 0.25 < took() < 3
            assert [exit_.code for exit_ in exits if exit_] == [-9, -9, -9]
            await gone(child)

    asyncio.run(main())


def test_children_of_a_process_that_has_ended_are_killed(short_dir):
    source = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            await up.client.start(python("parent", source, reports=True))
            child = int((await watch.until(ProcessEventKind.REPORTED, "parent")).report)
            await watch.until(ProcessEventKind.EXITED, "parent")
            await gone(child)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's variables")
@pytest.mark.parametrize("ends_by_itself", [True, False])
def test_a_child_in_its_own_session_ends_with_the_run(short_dir, ends_by_itself):
    child = "subprocess.Popen(['sleep', '600'], start_new_session=True).pid"
    waits = "" if ends_by_itself else "; input()"
    source = f"import subprocess; print({child}, flush=True){waits}"

    async def main():
        async with booted(short_dir) as up:
            other = await up.client.start(sleeper("other"))
            async with Watch(up.client) as watch:
                await up.client.start(python("a", source, reports=True, lifeline=True))
                pid = int((await watch.until(ProcessEventKind.REPORTED, "a")).report)
                if not ends_by_itself:
                    await up.client.stop("a", 5)
                await watch.until(ProcessEventKind.EXITED, "a")
            await gone(pid)
            assert alive(other.pid)

    asyncio.run(main())


def test_a_killed_process_is_restarted_at_once_and_a_crash_loop_is_not(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            good = RestartPolicy(first=0.05, settled=0.2)
            first = await up.client.start(sleeper("good", restart=good))
            await asyncio.sleep(0.25)
            took = timed()
            os.kill(first.pid, signal.SIGKILL)
            restarting = await watch.until(ProcessEventKind.RESTARTING, "good")
            started = await watch.until(ProcessEventKind.STARTED, "good")
            assert (restarting.delay, took() < 0.5) == (0.0, True)
            assert started.pid != first.pid
            assert (await status(up.client, "good")).runs == 2

            bad = RestartPolicy(first=0.02, limit=3)
            await up.client.start(
                python("bad", "print('why'); raise SystemExit(9)", restart=bad, reports=True)
            )
            await watch.until(ProcessEventKind.GAVE_UP, "bad")
            delays = [e.delay for e in watch.events if (e.name, e.kind) == ("bad", "restarting")]
            assert delays == [0.02, 0.04, 0.08]
            crashed = await status(up.client, "bad")
            assert crashed.exit is not None
            assert (crashed.state, crashed.runs, crashed.exit.report) == ("crash loop", 4, "why")
            assert alive(started.pid)

    asyncio.run(main())


def test_a_process_is_stopped_while_it_waits_for_its_restart(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            policy = RestartPolicy(first=0.3)
            await up.client.start(python("a", "raise SystemExit(9)", restart=policy))
            await watch.until(ProcessEventKind.RESTARTING, "a")
            assert (await status(up.client, "a")).state is ProcessState.WAITING
            assert await up.client.stop("a", 5) is not None
            await asyncio.sleep(0.4)
            assert await up.client.list() == ()

    asyncio.run(main())


def test_a_program_that_is_removed_between_two_runs_is_reported(short_dir):
    program = short_dir / "program"
    program.write_text("#!/bin/sh\nsleep 0.1\n")
    program.chmod(0o700)

    async def main():
        async with booted(short_dir / "state") as up, Watch(up.client) as watch:
            policy = RestartPolicy(first=0.01, limit=1)
            spec = ProcessSpec("a", (str(program),), dict(os.environ), "/", restart=policy)
            await up.client.start(spec)
            program.unlink()
            await watch.until(ProcessEventKind.GAVE_UP, "a")
            process = await status(up.client, "a")
            assert process.exit is not None
            assert process.exit.code == 127
            assert "No such file" in process.exit.reason

    asyncio.run(main())


def test_a_program_that_cannot_be_started_is_reported(short_dir):
    async def main():
        async with booted(short_dir) as up:
            descriptors = up.descriptors
            env = {"SECRET": "hunter2"}
            for spec in (
                ProcessSpec("a", ("/no/such/program",), env, "/"),
                ProcessSpec("a", ("sleep", "600"), env, "/no/such/folder"),
                ProcessSpec("a", ("sleep", "\0"), env, "/"),
                ProcessSpec("a", ("sleep", "9"), {"A=B": "hunter2\0"}, "/"),
            ):
                with pytest.raises(ProcessNotStarted, match="a cannot be started") as caught:
                    await up.client.start(spec)
                assert "hunter2" not in str(caught.value)
            for name in ("", "..", "a/b", ".hidden", "x" * 129):
                with pytest.raises(RequestInvalid):
                    await up.client.start(sleeper(name))
            with pytest.raises(ProcessUnknown):
                await texts(up.client.logs("a-b"))
            assert await up.client.list() == ()
            assert up.descriptors <= descriptors + 1

    asyncio.run(main())


def test_fifty_processes_at_once_leak_nothing(short_dir):
    async def main():
        async with booted(short_dir) as up:
            await up.client.list()
            before = up.descriptors
            specs = [
                sleeper(f"p{n}", reports=True, lifeline=True, log=LogBound(1000, 2))
                for n in range(50)
            ]
            started = await asyncio.gather(*(up.client.start(spec) for spec in specs))
            assert len({process.pid for process in started}) == 50
            for process in started[:10]:
                os.kill(process.pid, signal.SIGKILL)
            await asyncio.gather(*(up.client.stop(spec.name, 5) for spec in specs))
            assert await up.client.list() == ()
            assert not any(alive(process.pid) for process in started)

            async def settled() -> bool:
                return up.descriptors <= before

            await until(settled)
            members = json.loads((short_dir / "processes.json").read_text())
            assert members["processes"] == {}

    asyncio.run(main())


def test_logs_are_rotated_followed_and_limited(short_dir):
    source = (
        "import sys, time\n"
        "for n in range(2000): print(f'line {n:5}', flush=n % 100 == 0)\n"
        "sys.stdout.flush(); input()\n"
    )

    async def main():
        async with booted(short_dir) as up:
            bound = LogBound(file_bytes=16_000, files=3)
            await up.client.start(python("a", source, lifeline=True, log=bound))
            following = asyncio.create_task(texts(up.client.logs("a", follow=True)))

            async def complete() -> bool:
                return await texts(up.client.logs("a", tail=1)) == ["line  1999"]

            await until(complete)
            kept = await texts(up.client.logs("a"))
            assert kept == [f"line {n:5}" for n in range(2000 - len(kept), 2000)]
            assert 32_000 / 36 < len(kept) < 48_000 / 36
            assert await texts(up.client.logs("a", tail=1000)) == kept[-1000:]
            assert await texts(up.client.logs("a", tail=0)) == []
            assert await texts(up.client.logs("a", since=4e9)) == []
            files = sorted((short_dir / "logs" / "a").iterdir())
            assert [file.name for file in files] == ["1.log", "2.log", "current.log"]
            assert all(file.stat().st_size <= 16_000 for file in files)
            assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
            await up.client.stop("a", 5)
            followed = await following
            assert followed[-1] == "line  1999" or "KeyboardInterrupt" in followed[-1]
            assert followed == sorted(followed)

    asyncio.run(main())


def test_a_flood_without_line_breaks_uses_limited_memory(short_dir):
    source = (
        "import os\n"
        "for _ in range(40): os.write(2, b'x' * 1_000_000)\n"
        "for _ in range(4): os.write(1, b'y' * 1_000_000)\n"
        "os.write(1, b'\\nlast\\n'); input()"
    )

    async def main():
        async with booted(short_dir) as up:
            before = up.memory
            bound = LogBound(file_bytes=200_000, files=2)
            spec = python("a", source, lifeline=True, reports=True, log=bound)
            await up.client.start(spec)

            async def has_reported() -> bool:
                return (await status(up.client, "a")).reports[-1:] == ("last",)

            await until(has_reported)
            files = (short_dir / "logs" / "a").iterdir()
            assert sum(file.stat().st_size for file in files) <= 400_000
            assert up.memory - before < 32 * 1024 * 1024

    asyncio.run(main())


def test_a_slow_observer_is_dropped_with_an_error(short_dir):
    # At a rate that the quick observer keeps up with on a busy machine.
    source = (
        "import os, time\nfor _ in range(300): os.write(1, b'z' * 100_000 + b'\\n'); time.sleep(0.01)"
        "\ninput()"
    )

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as quick:
            reader, writer = await asyncio.open_unix_connection(socket_of(short_dir), limit=1000)
            writer.write(b'{"do": "observe"}\n')
            assert await reader.readline() == b'{"item": {"known": 0}}\n'
            before = up.memory
            await up.client.start(python("loud", source, reports=True, lifeline=True))
            while len(quick.events) < 301:
                await quick.until(ProcessEventKind.REPORTED, "loud")
            assert up.memory - before < 48 * 1024 * 1024
            *_, last = (await reader.read()).splitlines()
            assert json.loads(last)["error"] == "ObserverTooSlow"
            writer.close()

    asyncio.run(main())
