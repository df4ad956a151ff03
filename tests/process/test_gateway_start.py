"""``dcf-cli gateway`` with real processes: start, kills, errors and stop."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dcf.cli.exit_codes import ExitCode
from dcf.gateway.address_file import find
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY, supervisor_socket
from dcf.settings import Locations
from dcf.supervision.supervisor_client import SupervisorClient
from ports import free_port
from process.supervised import alive

PATIENCE = 20


@dataclass
class Place:
    """A data directory and its port, and the gateway that was started in the foreground there."""

    folder: Path
    port: int
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        places = {
            "DCF_DATA_DIR": str(self.folder / "data"),
            "DCF_RUNTIME_DIR": str(self.folder / "run"),
            "DCF_STATE_DIR": str(self.folder / "state"),
        }
        return {**os.environ, **places, **self.extra}

    @property
    def places(self) -> Locations:
        return Locations.from_mapping(self.env)

    @property
    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dcf.cli", "gateway", *map(str, arguments)]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def start(self, awaited: str = "Gateway at") -> None:
        command = [sys.executable, "-m", "dcf.cli", "gateway", "start", "--port", str(self.port)]
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(command, env=self.env, stderr=errors)
        self.until(lambda: awaited in self.said)

    def until(self, holds) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.said
            assert self.process is None or self.process.poll() is None, self.said
            time.sleep(0.01)

    def end(self, number: int) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(PATIENCE)

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status

    def pids(self) -> dict[str, int]:
        client = SupervisorClient(supervisor_socket(self.places))
        return {one.name: one.pid for one in asyncio.run(client.list())}

    def supervisor(self) -> int:
        assert self.process is not None
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def assert_nothing_is_left(self) -> None:
        self.until(lambda: find(self.places) is None)
        assert not list((self.folder / "run").rglob("*.sock"))
        with socket.create_server(("127.0.0.1", self.port)):
            pass


@contextlib.contextmanager
def placed(folder: Path, **extra: str) -> Iterator[Place]:
    place = Place(folder, free_port(), extra)
    try:
        yield place
    finally:
        if place.process is not None:
            place.end(signal.SIGTERM)
        place.run("stop")


@pytest.fixture
def place(short_dir) -> Iterator[Place]:
    with placed(short_dir) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Place]:
    """A running gateway."""
    with placed(tmp_path_factory.mktemp("g"), SHARED_BY_TESTS="1") as found:
        found.extra["DCF_RUNTIME_DIR"] = f"/tmp/dcf-test-{os.getpid()}"
        found.start()
        yield found
    Path(found.extra["DCF_RUNTIME_DIR"], found.places.gateway_runtime.name).rmdir()
    Path(found.extra["DCF_RUNTIME_DIR"]).rmdir()


def test_a_killed_supervisor_is_restarted_and_ctrl_c_stops_all_gracefully(place):
    place.start()
    before = place.pids()
    assert set(before) == {CONTROL, BRIDGE, ENVOY}
    os.kill(place.supervisor(), signal.SIGKILL)
    place.until(lambda: "answers again" in place.said)
    assert "killed by SIGKILL" in place.said
    assert place.status("/healthz") == 200
    assert not any(alive(pid) for pid in before.values())
    after = place.pids()

    assert place.end(signal.SIGINT) == 0

    assert not any(alive(pid) for pid in after.values())
    assert "Traceback" not in place.said
    place.assert_nothing_is_left()


@pytest.mark.parametrize("reached", ["Starting", f"{CONTROL} started", f"{ENVOY} started"])
def test_ctrl_c_during_the_start_leaves_nothing(place, reached):
    place.start(reached)

    assert place.end(signal.SIGINT) == ExitCode.INTERRUPTED, place.said
    assert "Error" not in place.said
    place.assert_nothing_is_left()


def test_if_the_first_process_is_killed_everything_ends(place):
    place.start()
    pids = [place.supervisor(), *place.pids().values()]

    place.end(signal.SIGKILL)

    place.until(lambda: not any(alive(pid) for pid in pids))
    place.assert_nothing_is_left()
    assert place.run("stop").stderr.startswith("No gateway runs")


def test_a_detached_gateway_stays_until_it_is_stopped(place):
    done = place.run("start", "--detach", "--host", "0.0.0.0", "--port", place.port)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Gateway at http://127.0.0.1:{place.port}" in done.stderr
    assert "calls need a key" in done.stderr
    assert place.status("/healthz") == 200
    assert place.status("/system/info") == 401
    address = find(place.places)
    assert address is not None
    assert os.getsid(address.process.pid) == address.process.pid
    pids = [address.process.pid, *place.pids().values()]

    stopped = place.run("stop")

    assert stopped.returncode == 0
    assert not any(alive(pid) for pid in pids)
    place.assert_nothing_is_left()
    log = (place.places.gateway / "log" / "current.log").read_text()
    assert "gateway.control started" in log


def test_a_process_that_ends_repeatedly_fails_the_start_with_its_reason(place):
    place.places.gateway.mkdir(parents=True)
    (place.places.gateway / "catalog.sqlite").write_bytes(b"no catalog" * 1000)

    done = place.run("start", "--detach", "--port", place.port)

    assert done.returncode == ExitCode.GATEWAY
    assert "gateway.control ended repeatedly" in done.stderr
    assert "catalog.sqlite" in done.stderr
    place.assert_nothing_is_left()


def test_a_bad_certificate_is_reported_before_anything_starts(place):
    for name in ("cert.pem", "key.pem"):
        (place.folder / name).write_text("no certificate")
    files = ("--cert", place.folder / "cert.pem", "--key", place.folder / "key.pem")

    done = place.run("start", "--port", place.port, *files)

    assert done.returncode == ExitCode.GATEWAY
    assert "cert.pem" in done.stderr
    place.assert_nothing_is_left()


def test_a_second_gateway_on_the_data_directory_is_rejected(shared):
    done = shared.run("start", "--port", free_port())

    assert done.returncode == ExitCode.GATEWAY
    assert f"a gateway at http://127.0.0.1:{shared.port} (process " in done.stderr
    assert shared.status("/healthz") == 200


def test_a_port_in_use_is_reported_and_nothing_is_left(shared, place):
    done = place.run("start", "--detach", "--port", shared.port)

    assert done.returncode == ExitCode.START
    assert f"port {shared.port} of 127.0.0.1 is in use" in done.stderr
    assert find(place.places) is None


def test_status_shows_the_gateway_and_its_processes(shared):
    done = shared.run("status", "--json")
    told = json.loads(done.stdout)
    shown = shared.run("status").stdout

    assert told["address"] == f"http://127.0.0.1:{shared.port}"
    assert (told["functions"], told["open"]) == (0, True)
    pids = {one["name"]: one["pid"] for one in told["processes"]}
    assert pids == shared.pids()
    assert all(one["memory"] > 2**20 and one["restarts"] == 0 for one in told["processes"])
    assert CONTROL in shown
    assert f"Gateway at http://127.0.0.1:{shared.port}" in shown


def test_the_token_is_private_and_the_same_from_both_sides(shared):
    ours = shared.run("token").stdout.strip()
    theirs = shared.run("token", "-g", f"127.0.0.1:{shared.port}").stdout.strip()

    assert ours == theirs != ""
    for file in (shared.places.gateway / "token", shared.places.token("localhost", shared.port)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_shown_once_listed_and_revoked(shared):
    key = shared.run("key", "create", "laptop").stdout.strip()
    again = shared.run("key", "create", "laptop")
    revoked = shared.run("key", "revoke", "laptop")
    (listed,) = json.loads(shared.run("key", "list", "--json").stdout)

    assert key
    assert again.returncode == ExitCode.PROJECT
    assert revoked.returncode == 0
    assert listed["name"] == "laptop"
    assert listed["revoked"]


def test_without_a_gateway_each_command_reports_it(place):
    assert place.run("stop").returncode == 0
    for command in (("status",), ("key", "list")):
        done = place.run(*command)
        assert done.returncode == ExitCode.GATEWAY
        assert str(place.places.data) in done.stderr
    assert place.run("token").returncode == ExitCode.GATEWAY
