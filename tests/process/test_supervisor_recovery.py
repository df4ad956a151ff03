"""kill -9 of a supervisor: its processes end, none runs twice, and no other process is harmed."""

import asyncio
import json
import os
import shutil
import subprocess
import sys

from dcf.supervision.identity import identify
from dcf.supervision.process_messages import ProcessEventKind, ProcessSpec
from process.supervised import (
    Booted,
    Watch,
    alive,
    booted,
    command,
    gone,
    interrupt,
    launch,
    python,
    sleeper,
    timed,
)


def test_a_process_with_a_lifeline_ends_with_the_supervisor(short_dir):
    async def main():
        async with booted(short_dir) as up:
            reading = python("a", "input()", lifeline=True)
            pid = (await up.client.start(reading)).pid
            up.kill()
            await gone(pid)

    asyncio.run(main())


def test_the_next_supervisor_kills_the_processes_that_still_run(short_dir):
    wanderer = (
        "import subprocess, time\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)"
    )

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            pids = [(await up.client.start(sleeper(f"p{n}"))).pid for n in range(5)]
            await up.client.start(python("wanderer", wanderer, reports=True))
            # It has left its group, and its parent has ended.
            pids.append(int((await watch.until(ProcessEventKind.REPORTED, "wanderer")).report))
            up.kill()
        assert all(alive(pid) for pid in pids)
        async with booted(short_dir) as up:
            assert not any(alive(pid) for pid in pids)
            assert await up.client.list() == ()
            # The names are free, and their logs continue.
            assert (await up.client.start(sleeper("p0"))).runs == 1

    asyncio.run(main())


def test_a_kill_at_any_time_leaves_no_process(short_dir):
    """Kill it between the start of a process and its record, or between any other two steps."""

    async def busy(up: Booted) -> None:
        for number in range(1000):
            await up.client.start(sleeper(f"p{number}"))

    async def main():
        for round_ in range(4):
            async with booted(short_dir) as up:
                work = asyncio.create_task(busy(up))
                await asyncio.sleep(0.02 + 0.013 * round_)
                up.kill()
                await asyncio.gather(work, return_exceptions=True)
        async with booted(short_dir):
            # The leak check of every test finds processes that are left.
            pass

    asyncio.run(main())


def test_a_process_whose_id_was_reused_is_not_killed(short_dir):
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    mine = subprocess.Popen(["sleep", "600"], start_new_session=True)
    known, recorded = identify(stranger.pid), identify(mine.pid)
    assert known is not None
    assert recorded is not None
    processes = {
        "stranger": [known.pid, str(int(known.started) - 1), known.boot],
        "before-the-boot": [known.pid, known.started, "another boot"],
        "mine": [recorded.pid, recorded.started, recorded.boot],
    }
    state = short_dir / "processes.json"
    state.write_text(json.dumps({"mark": "m", "processes": processes}))

    async def main():
        async with booted(short_dir):
            assert alive(stranger.pid)
            assert not alive(mine.pid)

    asyncio.run(main())
    mine.wait()
    stranger.kill()
    stranger.wait()


def test_a_torn_record_is_replaced(short_dir):
    (short_dir / "processes.json").write_bytes(b'{"mark": "x", "proc')

    async def main():
        async with booted(short_dir, log=short_dir / "log") as up:
            await up.client.start(sleeper("a"))

    asyncio.run(main())
    assert "starting with an empty record" in (short_dir / "log").read_text()
    assert json.loads((short_dir / "processes.json").read_text())["processes"] == {}


def test_a_second_supervisor_refuses_and_the_first_keeps_running(short_dir):
    async def main():
        async with booted(short_dir) as up:
            pid = (await up.client.start(sleeper("a"))).pid
            for _ in range(2):
                second = await asyncio.create_subprocess_exec(
                    *command(short_dir), stderr=subprocess.PIPE
                )
                _, output = await second.communicate()
                assert second.returncode == 75
                assert b"another supervisor uses" in output
            (running,) = await up.client.list()
            assert (running.pid, alive(pid)) == (pid, True)

    asyncio.run(main())


def test_of_two_supervisors_started_at_once_one_runs(short_dir):
    both = [launch(short_dir, short_dir / "log") for _ in range(2)]

    async def main():
        loser = await asyncio.to_thread(lambda: next(p for p in _ended(both)))
        assert loser.returncode == 75

    asyncio.run(main())
    (winner,) = [process for process in both if process.poll() is None]
    winner.terminate()
    assert winner.wait(10) in {0, -15}


def _ended(processes: list[subprocess.Popen[bytes]]):
    took = timed()
    while took() < 10:
        yield from (process for process in processes if process.poll() is not None)


def test_a_process_has_only_the_variables_of_its_spec(short_dir):
    """The supervisor's own environment does not reach its processes."""

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            source = "import os; print(sorted(os.environ))"
            env = {"ONLY": "this", "TEST_RUN_MARK": os.environ["TEST_RUN_MARK"]}
            spec = ProcessSpec("a", (sys.executable, "-I", "-c", source), env, "/", reports=True)
            await up.client.start(spec)
            report = (await watch.until(ProcessEventKind.REPORTED, "a")).report
            names = set(json.loads(report.replace("'", '"'))) - {"LC_CTYPE", "PWD"}
            assert names == {"ONLY", "TEST_RUN_MARK", "DCF_SUPERVISOR", "DCF_RUN"}

    asyncio.run(main())


def test_it_shuts_down_in_order_after_its_folder_was_removed(short_dir):
    async def main():
        async with booted(short_dir / "state") as up:
            process = await up.client.start(sleeper("a"))
            shutil.rmtree(short_dir / "state" / "logs")
            assert interrupt(up.process) == 0
            assert not alive(process.pid)

    asyncio.run(main())
