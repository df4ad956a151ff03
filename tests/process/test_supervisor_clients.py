"""The supervisor and its clients: garbage, kills, secrets, signals, sockets."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dcf.errors import (
    SupervisorUnreachable,
)
from dcf.supervision.policy import RestartPolicy
from dcf.supervision.process_messages import ProcessEventKind, ProcessSpec
from dcf.supervision.states import ProcessState
from dcf.supervision.supervisor_client import SupervisorClient, socket_of
from process.supervised import (
    Watch,
    alive,
    booted,
    command,
    interrupt,
    python,
    sleeper,
    status,
    timed,
    until,
)


async def _say(path: Path, data: bytes, *, wait: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    reply = await reader.readline() if wait else b""
    writer.close()
    return reply


def test_garbage_partial_lines_and_disconnected_clients_disturb_no_other_client(short_dir):
    path = socket_of(short_dir)

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            running = await up.client.start(sleeper("a"))
            before = up.descriptors
            for garbage in (
                b"\n",
                b"GET / HTTP/1.1\r\n",
                b"\xff\xfe\n",
                b"[" * 100_000 + b"\n",
                b"7\n",
                b'{"do": "fly"}\n',
                b'{"do": "stop", "name": "a", "grace": NaN}\n',
                b'{"do": "stop", "name": "../a", "grace": 1}\n',
                b'{"do": "start", "name": "b", "command": "sleep 9", "env": {}, "cwd": "/"}\n',
                b'{"do": "start", "name": "b", "command": ["x"], "env": {"A": 1}, "cwd": "/"}\n',
                b'{"do": "logs", "name": "a", "tail": true}\n',
                b'{"do": "logs", "name": "a", "tail": 1' + b"0" * 5000 + b"}\n",
            ):
                reply = json.loads(await _say(path, garbage))
                assert reply["error"] == "RequestInvalid", garbage
            assert json.loads(await _say(path, b"x" * 5_000_000 + b"\n"))["error"]
            await asyncio.gather(*(_say(path, b'{"do": "li', wait=False) for _ in range(20)))
            await asyncio.gather(*(_say(path, b'{"do": "observe"}\n') for _ in range(20)))
            await asyncio.gather(*(_say(path, b'{"do": "list"}\n', wait=False) for _ in range(20)))
            # Its client disconnects before the end, but the request is carried out.
            await _say(path, b'{"do": "stop", "name": "a", "grace": 5}\n', wait=False)
            await watch.until(ProcessEventKind.FORGOTTEN, "a")
            assert not alive(running.pid)

            async def settled() -> bool:
                return up.descriptors <= before

            await until(settled)

    asyncio.run(main())


def test_a_client_that_is_killed_during_a_request_disturbs_no_other_client(short_dir):
    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            await up.client.start(
                python(
                    "a",
                    "import signal, time\nsignal.signal(15, lambda *_: time.sleep(0.3) or exit(4))\nprint(flush=True)\ntime.sleep(600)",
                    reports=True,
                )
            )
            await watch.until(ProcessEventKind.REPORTED, "a")
            source = (
                "import asyncio, pathlib\n"
                "from dcf.supervision.supervisor_client import SupervisorClient\n"
                f"client = SupervisorClient(pathlib.Path({str(socket_of(short_dir))!r}))\n"
                "asyncio.run(client.stop('a', 30))"
            )
            client = await asyncio.create_subprocess_exec(sys.executable, "-c", source)

            async def stopping() -> bool:
                return (await status(up.client, "a")).state is ProcessState.STOPPING

            await until(stopping)
            client.kill()
            await client.wait()
            ended = await watch.until(ProcessEventKind.EXITED, "a")
            assert ended.exit is not None
            assert (ended.exit.code, ended.exit.asked) == (4, True)

    asyncio.run(main())


def _of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


def test_secrets_stay_out_of_files_and_the_process_list(short_dir):
    log = short_dir / "supervisor.log"
    secret = "correct-horse-battery"

    async def main():
        async with booted(short_dir / "state", log=log) as up:
            spec = ProcessSpec("a", ("sleep", "600"), {**os.environ, "TOKEN": secret}, "/")
            assert secret not in repr(spec)
            running = await up.client.start(spec)
            assert secret not in repr(await up.client.list())
            for pid in (running.pid, up.process.pid):
                assert secret not in _of_process(pid, "cmdline")
            assert f"TOKEN={secret}" in _of_process(running.pid, "environ")
            await up.client.stop("a", 5)

    asyncio.run(main())
    for path in short_dir.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_processes_in_the_order_of_stages(short_dir, number):
    last_words = (
        "import signal, sys, time, pathlib\n"
        "def end(*_):\n"
        "    time.sleep(float(sys.argv[2]))\n"
        "    with open(sys.argv[3], 'a') as file: file.write(sys.argv[1] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(flush=True)\ntime.sleep(600)"
    )
    order = short_dir / "order"

    async def main():
        async with booted(short_dir / "state") as up, Watch(up.client) as watch:
            for name, delay, stage in (("last", 0, 9), ("slow", 0.2, 0), ("quick", 0, 0)):
                spec = python(name, last_words, reports=True, stage=stage)
                arguments = (*spec.command, name, str(delay), str(order))
                await up.client.start(
                    ProcessSpec(name, arguments, spec.env, "/", reports=True, stage=stage)
                )
            for name in ("last", "slow", "quick"):

                async def ready(name=name) -> bool:
                    return (await status(up.client, name)).reports == ("",)

                await until(ready)
            assert await asyncio.to_thread(interrupt, up.process, number) == 0
            with pytest.raises(AssertionError, match="ended"):
                await watch.until(ProcessEventKind.STARTED, "no such process")
            with pytest.raises(SupervisorUnreachable):
                await up.client.list()

    asyncio.run(main())
    assert order.read_text().split() == ["quick", "slow", "last"]
    assert not socket_of(short_dir / "state").exists()


def test_a_second_signal_kills_all_processes_at_once(short_dir):
    deaf = (
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(600)"
    )

    async def main():
        async with booted(short_dir) as up, Watch(up.client) as watch:
            for name, stage in (("a", 0), ("b", 1)):
                await up.client.start(
                    python(name, deaf, reports=True, stage=stage, restart=RestartPolicy())
                )
            for name in ("a", "b"):

                async def ready(name=name) -> bool:
                    return (await status(up.client, name)).reports == ("",)

                await until(ready)
            del watch
            took = timed()
            up.process.terminate()
            await asyncio.sleep(0.2)
            assert await asyncio.to_thread(interrupt, up.process) == 0
            assert took() < 3

    asyncio.run(main())


def test_the_socket_is_private(short_dir):
    async def main():
        async with booted(short_dir / "state") as up:
            del up
            assert stat.S_IMODE(socket_of(short_dir / "state").stat().st_mode) == 0o600
            assert stat.S_IMODE((short_dir / "state").stat().st_mode) == 0o700

    asyncio.run(main())


def test_a_supervisor_reports_a_folder_that_it_cannot_use(short_dir):
    deep = short_dir / ("x" * 120)
    done = subprocess.run(command(deep), capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot listen on" in done.stderr) == (73, True)
    (short_dir / "file").write_text("")
    assert (
        subprocess.run(command(short_dir / "file"), capture_output=True, check=False).returncode
        == 73
    )


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "inf"])
def test_a_grace_that_is_not_a_time_is_rejected_without_a_traceback(short_dir, seconds):
    arguments = command(short_dir / "state", f"--grace={seconds}")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        f"--grace: expected a number of seconds from 0 to 31536000, such as 90, got '{seconds}'"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_missing_and_a_silent_supervisor_are_unreachable(short_dir):
    async def main():
        message = r"expected a supervisor at .*/none\.sock, got no connection"
        with pytest.raises(SupervisorUnreachable, match=message):
            await SupervisorClient(short_dir / "none.sock").list()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(short_dir / "other.sock"))
        listener.listen()
        message = r"expected an answer at .*/other\.sock within 0\.1 s, got none"
        with pytest.raises(SupervisorUnreachable, match=message):
            await SupervisorClient(short_dir / "other.sock", timeout=0.1).list()
        listener.close()

    asyncio.run(main())
