"""Processes that hang, and processes that write too many reports."""

import asyncio
import json
import os
import signal

import pytest

from dcf.supervision.liveness import LivenessRule, Probe
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import ProcessEventKind
from process.supervised import Watch, alive, booted, python, sleeper, status, until

pytestmark = pytest.mark.slow

ANSWERS = """
import socket, sys, time
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind({path!r})
    listener.listen()
    while True:
        connection, _ = listener.accept()
        {hang}
        connection.sendall(b"1")
        connection.close()
"""
RULE = LivenessRule(interval=0.1, silence=0.5, start=5.0)
AGAIN = RestartPolicy(first=0.01, limit=None)


def answering(path, name="a", hang="pass", rule=RULE):
    source = ANSWERS.format(path=str(path), hang=hang)
    probe = Probe(str(path), rule=rule)
    return python(name, source, restart=AGAIN, sockets=(str(path),), probe=probe)


def test_a_stopped_process_is_killed_with_the_reason_and_restarted(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            first = await up.client.start(answering(short_dir / "a.sock"))
            other = await up.client.start(sleeper("other"))
            await asyncio.sleep(1.5)
            assert (await status(up.client, "a")).pid == first.pid, "it answers"
            os.kill(first.pid, signal.SIGSTOP)
            ended = await watch.until(ProcessEventKind.EXITED, "a")
            assert ended.exit is not None
            assert "it did not answer for 0.5 s" in ended.exit.reason
            again = await watch.until(ProcessEventKind.STARTED, "a")
            assert again.pid != first.pid
            assert alive(other.pid)

    asyncio.run(main())


def test_a_process_that_never_answers_has_its_time_to_start(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            rule = LivenessRule(interval=0.1, silence=0.1, start=1.0)
            spec = answering(short_dir / "a.sock", hang="time.sleep(600)", rule=rule)
            began = asyncio.get_running_loop().time()
            await up.client.start(spec)
            ended = await watch.until(ProcessEventKind.EXITED, "a")
            assert asyncio.get_running_loop().time() - began >= 1.0
            assert ended.exit is not None
            assert "it has not begun to answer for 1 s" in ended.exit.reason

    asyncio.run(main())


def test_a_supervisor_that_was_stopped_itself_kills_no_process(short_dir):
    async def main():
        async with booted(short_dir) as up:
            started = [
                await up.client.start(answering(short_dir / f"{name}.sock", name)) for name in "ab"
            ]
            await asyncio.sleep(0.5)
            up.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2)
            up.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(1)
            for process in started:
                assert (await status(up.client, process.name)).pid == process.pid

    asyncio.run(main())


@pytest.mark.parametrize("line", ["b'\\n' * 65536", "b'x\\n' * 32768", "b'y' * 1_000_000"])
def test_a_flood_of_reports_does_not_delay_other_processes(short_dir, line):
    source = f"import os\nos.write(1, b'first\\n')\nwhile True: os.write(1, {line})"

    async def main():
        async with booted(short_dir) as up:
            await up.client.start(python("loud", source, reports=True, lifeline=True))

            async def has_reported() -> bool:
                return len((await status(up.client, "loud")).reports) > 4

            await until(has_reported)
            before = up.memory
            for number in range(20):
                async with asyncio.timeout(2):
                    await up.client.start(sleeper(f"p{number}"))
                    await up.client.stop(f"p{number}", 0)
            loud = await status(up.client, "loud")
            assert loud.reports[0] == "first", "the first report is kept"
            assert up.memory - before < 32 * 1024 * 1024
            await up.client.stop("loud", 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    "record",
    [
        b"[" * 10_000,
        b"5",
        b'{"mark": 5, "processes": {}}',
        b'{"mark": "", "processes": {}}',
        b'{"mark": "m", "processes": {"a": 5}}',
        b'{"mark": "m", "processes": {"a": ["x", "y", "z"]}}',
        b'{"mark": "m", "processes": {"a": [1e999, "y", "z"]}}',
        b'{"mark": "m", "processes": {"a": [' + b"9" * 5000 + b', "y", "z"]}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_record_does_not_keep_the_supervisor_from_starting(short_dir, record):
    (short_dir / "processes.json").write_bytes(record)

    async def main():
        async with booted(short_dir) as up:
            assert await up.client.list() == ()

    asyncio.run(main())
    assert json.loads((short_dir / "processes.json").read_bytes())["processes"] == {}
