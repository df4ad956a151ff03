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

from dcf.client.client import Client
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
    # The pipe for reports: the lowest pipe above the three standard ones.
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
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway"), shared=True) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        gateway.deploy(gateway.write("hostile", HOSTILE))
        yield gateway


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
def test_a_malformed_report_fails_only_its_replica(gateway: GatewayProcess, line: bytes) -> None:
    control = gateway.pid("gateway.control")
    gateway.until_ready("hostile")
    (victim,) = gateway.replicas("hostile")
    status, _ = gateway.call("hostile", line)
    assert status >= 500
    gateway.until(lambda: victim not in gateway.replicas("hostile"))
    gateway.until(
        lambda: any("invalid report" in event.detail for event in gateway.client.events("hostile"))
    )
    assert gateway.call("echo", b"x") == (200, b"x")
    gateway.client.scale("echo", 2)
    gateway.until_ready("echo", 2)
    gateway.client.scale("echo", 1)
    gateway.client.scale("hostile", 0)
    gateway.until(lambda: not gateway.replicas("hostile"))
    gateway.client.scale("hostile", 1)
    assert gateway.pid("gateway.control") == control, "it never ended"


def test_a_stored_malformed_report_does_not_affect_the_next_control_plane(
    gateway: GatewayProcess,
) -> None:
    gateway.client.scale("hostile", 1)
    gateway.until_ready("hostile")
    (victim,) = gateway.replicas("hostile")
    control = gateway.pid("gateway.control")
    os.kill(control, signal.SIGSTOP)
    thread = threading.Thread(
        target=gateway.call, args=("hostile", BAD["a number for an endpoint"])
    )
    thread.start()
    gateway.until(lambda: '"endpoint":5' in gateway.statuses()[victim].reports[-1].replace(" ", ""))
    os.kill(control, signal.SIGKILL)
    gateway.until(lambda: gateway.pid("gateway.control") not in {0, control})
    gateway.until(lambda: gateway.get("/healthz")[0] == 200)
    gateway.until(lambda: victim not in gateway.replicas("hostile"))
    gateway.until_ready("hostile")
    thread.join()
    after = gateway.pid("gateway.control")
    assert gateway.call("echo", b"x") == (200, b"x")
    assert gateway.pid("gateway.control") == after


def test_a_hung_control_plane_is_restarted(gateway: GatewayProcess) -> None:
    control = gateway.pid("gateway.control")
    os.kill(control, signal.SIGSTOP)
    began = time.monotonic()
    assert gateway.call("echo", b"warm") == (200, b"warm")
    status, _, body = gateway.request(
        "POST", "/function/nobody", b"x", {"X-Dcf-Deadline-Ms": "3000"}
    )
    assert (status, json.loads(body)["error"]) == (504, "DeadlineExceeded")
    assert 3 <= time.monotonic() - began < 6
    # Envoy holds the call and asks again once a control plane runs.
    status, _, body = gateway.request("POST", "/function/nobody", b"x")
    assert (status, json.loads(body)["error"]) == (404, "FunctionNotFound")
    # 12 s to detect the hang; the rest is for a start on a busy machine.
    assert time.monotonic() - began < 45
    gateway.until(lambda: gateway.get("/healthz")[0] == 200)
    assert gateway.pid("gateway.control") != control
    exit_ = gateway.statuses()["gateway.control"].exit
    assert exit_ is not None
    assert "did not answer for 10 s" in exit_.reason


@pytest.mark.parametrize(("name", "patience"), [("gateway.bridge", 20), ("gateway.envoy", 30)])
def test_a_hung_bridge_and_a_hung_envoy_are_restarted(
    gateway: GatewayProcess, name: str, patience: float
) -> None:
    before = gateway.pid(name)
    pids = {process: gateway.pid(process) for process in gateway.statuses() if process != name}
    os.kill(before, signal.SIGSTOP)
    gateway.until(lambda: gateway.pid(name) not in {0, before}, patience)
    gateway.until(gateway.answers)
    assert gateway.call("echo", b"x") == (200, b"x")
    assert {process: gateway.pid(process) for process in pids} == pids


def test_a_supervisor_that_was_stopped_restarts_nothing(gateway: GatewayProcess) -> None:
    before = {name: status.pid for name, status in gateway.statuses().items()}
    supervisor = gateway.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    time.sleep(7)
    os.kill(supervisor, signal.SIGCONT)
    time.sleep(5)
    assert {name: status.pid for name, status in gateway.statuses().items()} == before
    assert gateway.supervisor == supervisor


def test_a_hung_supervisor_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.deploy(gateway.write("echo", ECHO))
        supervisor = gateway.supervisor
        os.kill(supervisor, signal.SIGSTOP)
        gateway.until(lambda: not Path(f"/proc/{supervisor}").exists(), 25)
        gateway.until(lambda: _echoes(gateway))
        assert gateway.supervisor != supervisor


def _echoes(gateway: GatewayProcess) -> bool:
    try:
        return gateway.call("echo", b"x") == (200, b"x")
    except OSError:
        return False


class Disk:
    """Mount the gateway's disk where only its own processes see it."""

    def __init__(self, gateway: GatewayProcess) -> None:
        assert gateway.process is not None
        root = Path(f"/proc/{gateway.process.pid}/root")
        self._filler = root / str(gateway.places.data).lstrip("/") / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def free(self) -> None:
        self._filler.unlink()


@needs_mounts
def test_a_full_disk_stops_nothing_and_is_reported_until_there_is_space(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        small = mounted(f"mount -t tmpfs -o size=96m none {data}")
        gateway = GatewayProcess(tmp_path, Path(runtime), before=small)
        try:
            gateway.start()
            token = gateway.places.token("127.0.0.1", gateway.port).read_text().strip()
            gateway.env |= {"DCF_TOKEN": token}
            client = Client(gateway.url, token)
            author = {"DCF_DATA_DIR": str(tmp_path / "author")}
            for name in ("echo", "other"):
                folder = gateway.write(name, ECHO)
                result = gateway.dcf("function", "deploy", f"{folder}/", env=author)
                assert result.returncode == 0, result.stderr.decode()
            client.scale("other", 2)
            gateway.until(lambda: client.function("other").ready == 2)
            disk = Disk(gateway)
            disk.fill()
            assert gateway.call("echo", b"x") == (200, b"x")

            before = gateway.pid("gateway.control")
            os.kill(before, signal.SIGKILL)
            gateway.until(lambda: gateway.pid("gateway.control") not in {0, before})
            gateway.until(lambda: gateway.get("/healthz")[0] == 200)
            assert len(client.functions()) == 2

            (victim,) = gateway.replicas("echo")
            gateway.kill(victim)
            gateway.until(lambda: client.function("echo").ready == 0)
            status, _, body = gateway.request("POST", "/function/echo", b"x")
            assert status >= 500
            assert "no space left on device" in json.loads(body)["detail"]
            assert gateway.call("other", b"x") == (200, b"x")
            (lost, *_) = gateway.replicas("other")
            gateway.kill(lost)
            gateway.until(lambda: client.function("other").ready == 1)
            assert gateway.call("other", b"x") == (200, b"x")
            failure = client.function("echo").failure
            assert failure is not None
            assert "no space left on device" in failure.detail

            disk.free()
            gateway.until(lambda: _echoes(gateway), 90)
            gateway.until(lambda: client.function("other").ready == 2, 90)
            assert any("SIGKILL" in event.detail for event in client.events("echo"))
            client.close()
        finally:
            gateway.stop()
