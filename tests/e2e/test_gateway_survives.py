"""Bad functions and full disks do not affect other functions; hung processes are restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.client.gateway import Client
from e2e.gateway_process import GatewayProcess, running
from process.mounts import mounted, needs_mounts

pytestmark = pytest.mark.slow

ECHO = """
class Handler:
    def __call__(self, req):
        return req.input
"""

HOSTILE = """
import os, time

def send(line):
    # What the watcher keeps for its reports: the lowest pipe that is not one of the usual three.
    for number in range(3, 20):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                os.write(number, line)
                return
        except OSError:
            pass

class Handler:
    def __call__(self, req):
        if req.input:
            send(req.input)
            time.sleep(30)
        return b"well"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("house"), shared=True) as house:
        house.deploy(house.write("echo", ECHO))
        house.deploy(house.write("hostile", HOSTILE))
        yield house


BAD = {
    "deep": b"[" * 10_000 + b"\n",
    "deep member": b'{"state":"draining","detail":' + b"[" * 10_000 + b"\n",
    "wrong types": b'{"state":"failed","error":{"a":1},"detail":5}\n',
    "a number for an endpoint": b'{"state":"ready","endpoint":5}\n',
    "another endpoint": b'{"state":"ready","endpoint":"unix:/etc/passwd"}\n',
    "ready twice": b'{"state":"ready","endpoint":"tcp:127.0.0.1:1"}\n',
    "out of order": b'{"state":"starting"}\n',
    "digits": b'{"state":"draining","detail":' + b"9" * 5000 + b"}\n",
    "not a number": b'{"state":"draining","detail":NaN}\n',
    "no utf-8": b'{"state":"\xff\xfe"}\n',
    "nul": b"\0\n",
    "empty": b"\n",
    "a flood": b"{}\n" * 20_000,
    "no end": b"x" * 300_000,
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_bad_report_fails_its_replica_and_nothing_else(
    house: GatewayProcess, line: bytes
) -> None:
    control = house.pid("gateway.control")
    house.until_ready("hostile")
    (victim,) = house.replicas("hostile")
    status, _ = house.call("hostile", line)
    assert status >= 500
    house.until(lambda: victim not in house.replicas("hostile"))
    house.until(
        lambda: any("invalid report" in one.detail for one in house.client.events("hostile"))
    )
    assert house.call("echo", b"x") == (200, b"x")
    house.client.scale("echo", 2)
    house.until_ready("echo", 2)
    house.client.scale("echo", 1)
    house.client.scale("hostile", 0)
    house.until(lambda: not house.replicas("hostile"))
    house.client.scale("hostile", 1)
    assert house.pid("gateway.control") == control, "it never ended"


def test_a_report_that_lies_in_wait_does_not_hit_the_next_control_plane(
    house: GatewayProcess,
) -> None:
    house.client.scale("hostile", 1)
    house.until_ready("hostile")
    (victim,) = house.replicas("hostile")
    control = house.pid("gateway.control")
    os.kill(control, signal.SIGSTOP)
    thread = threading.Thread(target=house.call, args=("hostile", BAD["a number for an endpoint"]))
    thread.start()
    house.until(lambda: '"endpoint":5' in house.statuses()[victim].reports[-1].replace(" ", ""))
    os.kill(control, signal.SIGKILL)
    house.until(lambda: house.pid("gateway.control") not in {0, control})
    house.until(lambda: house.get("/healthz")[0] == 200)
    house.until(lambda: victim not in house.replicas("hostile"))
    house.until_ready("hostile")
    thread.join()
    after = house.pid("gateway.control")
    assert house.call("echo", b"x") == (200, b"x")
    assert house.pid("gateway.control") == after


def test_a_control_plane_that_stands_still_is_started_again(house: GatewayProcess) -> None:
    control = house.pid("gateway.control")
    os.kill(control, signal.SIGSTOP)
    began = time.monotonic()
    assert house.call("echo", b"warm") == (200, b"warm")
    status, _, body = house.request("POST", "/function/nobody", b"x", {"X-Dcf-Deadline-Ms": "3000"})
    assert (status, json.loads(body)["error"]) == (504, "DeadlineExceeded")
    assert 3 <= time.monotonic() - began < 6
    # Held by Envoy, and asked about again when there is somebody to be asked.
    status, _, body = house.request("POST", "/function/nobody", b"x")
    assert (status, json.loads(body)["error"]) == (404, "FunctionNotFound")
    # 12 s to find that it stands still; the rest is for a start on a busy machine.
    assert time.monotonic() - began < 45
    house.until(lambda: house.get("/healthz")[0] == 200)
    assert house.pid("gateway.control") != control
    exit_ = house.statuses()["gateway.control"].exit
    assert exit_ is not None
    assert "did not answer for 10 s" in exit_.reason


@pytest.mark.parametrize(("name", "patience"), [("gateway.bridge", 20), ("gateway.envoy", 30)])
def test_bridge_and_envoy_that_stand_still_are_started_again(
    house: GatewayProcess, name: str, patience: float
) -> None:
    before = house.pid(name)
    others = {one: house.pid(one) for one in house.statuses() if one != name}
    os.kill(before, signal.SIGSTOP)
    house.until(lambda: house.pid(name) not in {0, before}, patience)
    house.until(house.answers)
    assert house.call("echo", b"x") == (200, b"x")
    assert {one: house.pid(one) for one in others} == others


def test_a_supervisor_that_was_stopped_restarts_nothing(house: GatewayProcess) -> None:
    before = {name: one.pid for name, one in house.statuses().items()}
    supervisor = house.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    time.sleep(7)
    os.kill(supervisor, signal.SIGCONT)
    time.sleep(5)
    assert {name: one.pid for name, one in house.statuses().items()} == before
    assert house.supervisor == supervisor


def test_a_supervisor_that_stands_still_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as house:
        house.deploy(house.write("echo", ECHO))
        supervisor = house.supervisor
        os.kill(supervisor, signal.SIGSTOP)
        house.until(lambda: not Path(f"/proc/{supervisor}").exists(), 25)
        house.until(lambda: _echoes(house))
        assert house.supervisor != supervisor


def _echoes(house: GatewayProcess) -> bool:
    try:
        return house.call("echo", b"x") == (200, b"x")
    except OSError:
        return False


class Disk:
    """The gateway's disk, which only its own processes see by its name."""

    def __init__(self, house: GatewayProcess) -> None:
        assert house.process is not None
        root = Path(f"/proc/{house.process.pid}/root")
        self._filler = root / str(house.places.data).lstrip("/") / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        self._filler.unlink()


@needs_mounts
def test_a_full_disk_stops_nothing_is_named_and_heals(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        small = mounted(f"mount -t tmpfs -o size=96m none {data}")
        house = GatewayProcess(tmp_path, Path(runtime), before=small)
        try:
            house.start()
            token = house.places.token("127.0.0.1", house.port).read_text().strip()
            house.env |= {"DCF_TOKEN": token}
            client = Client(house.url, token)
            author = {"DCF_DATA_DIR": str(tmp_path / "author")}
            for name in ("echo", "other"):
                folder = house.write(name, ECHO)
                done = house.dcf("function", "deploy", f"{folder}/", env=author)
                assert done.returncode == 0, done.stderr.decode()
            client.scale("other", 2)
            house.until(lambda: client.function("other").ready == 2)
            disk = Disk(house)
            disk.fill()
            assert house.call("echo", b"x") == (200, b"x")

            before = house.pid("gateway.control")
            os.kill(before, signal.SIGKILL)
            house.until(lambda: house.pid("gateway.control") not in {0, before})
            house.until(lambda: house.get("/healthz")[0] == 200)
            assert len(client.functions()) == 2

            (victim,) = house.replicas("echo")
            house.kill(victim)
            house.until(lambda: client.function("echo").ready == 0)
            status, _, body = house.request("POST", "/function/echo", b"x")
            assert status >= 500
            assert "no space left on device" in json.loads(body)["detail"]
            assert house.call("other", b"x") == (200, b"x")
            (lost, *_) = house.replicas("other")
            house.kill(lost)
            house.until(lambda: client.function("other").ready == 1)
            assert house.call("other", b"x") == (200, b"x")
            failure = client.function("echo").failure
            assert failure is not None
            assert "no space left on device" in failure.detail

            disk.free()
            house.until(lambda: _echoes(house), 90)
            house.until(lambda: client.function("other").ready == 2, 90)
            assert any("SIGKILL" in one.detail for one in client.events("echo"))
            client.close()
        finally:
            house.stop()
