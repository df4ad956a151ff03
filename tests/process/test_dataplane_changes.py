"""Changes during calls: endpoints, functions, Envoy itself, the discovery service."""

import contextlib
import http.client
import threading
import time
from typing import Self

import pytest

from dcf.dataplane.xds_server import XdsServer
from dcf.errors import RoutesLate, RoutesRejected
from dcf.model.routing import CallLimits, Destination
from process.plane import Plane, running

SLEEPER = """
    import time
    class Handler:
        def __call__(self, req):
            time.sleep(float(req.input))
            return "done"
"""


@pytest.fixture
def plane(short_dir):
    with running(short_dir, access_log=False) as plane:
        yield plane


class Load:
    """Calls continuously on several connections, and records every failure."""

    def __init__(self, plane: Plane, path: str, clients: int = 4) -> None:
        self.failures: list[str] = []
        self.calls = 0
        self._over = threading.Event()
        self._plane, self._path = plane, path
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._plane.connection()) as connection:
            while not self._over.is_set():
                try:
                    connection.request("POST", self._path, b"0.001")
                    response = connection.getresponse()
                    body = response.read()
                    if response.status != 200:
                        self.failures.append(f"{response.status} {body!r}")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                self.calls += 1


def test_replicas_come_and_go_without_a_failed_call(plane, launch):
    first, second = (launch(SLEEPER, function="f").endpoint for _ in range(2))
    plane.set("f", first)
    with Load(plane, "/function/f") as load:
        for _ in range(40):
            plane.set("f", first, second)
            plane.set("f", second)
            plane.set("f", first)
            time.sleep(0.01)
    assert (load.failures, load.calls > 100) == ([], True)


def test_a_replica_is_replaced_without_a_failed_call(plane, launch):
    running_ones = [launch(SLEEPER, function="f") for _ in range(2)]
    plane.set("f", *(one.endpoint for one in running_ones))
    with Load(plane, "/function/f") as load:
        for _ in range(3):
            new = launch(SLEEPER, function="f")
            old = running_ones.pop(0)
            running_ones.append(new)
            plane.set("f", *(one.endpoint for one in running_ones))
            old.replica.stop(5)
    assert (load.failures, load.calls > 100) == ([], True)


def test_a_call_in_progress_completes_when_its_replica_is_removed(plane, launch):
    plane.set("f", launch(SLEEPER, function="f").endpoint)
    replies = []
    call = threading.Thread(target=lambda: replies.append(plane.call("/function/f", b"0.6")))
    call.start()
    time.sleep(0.2)
    plane.set("f")
    assert plane.problem("/function/f", b"0")["detail"] == "f has no ready replica"
    call.join()
    assert replies[0][2] == b"done"


def test_other_limits_under_load(plane, launch):
    endpoint = launch(SLEEPER, function="f").endpoint
    plane.set("f", endpoint)
    with Load(plane, "/function/f") as load:
        for number in range(1, 6):
            assert plane.set("f", endpoint, calls=100 * number) < 1
            time.sleep(0.05)
    assert load.failures == []


def test_a_function_is_removed_and_comes_back(plane, launch):
    plane.serve_control()
    endpoint = launch(SLEEPER, function="f").endpoint
    for _ in range(3):
        plane.set("f", endpoint)
        assert plane.call("/function/f", b"0")[0] == 200
        plane.remove("f")
        assert plane.call("/function/f", b"0")[0] == 404


def test_a_killed_envoy_finds_everything_again(plane, launch):
    endpoint = launch(SLEEPER, function="f").endpoint
    for number in range(50):
        plane.set(f"f{number}", endpoint.replace("unix:", "unix:"))
    plane.set("f", endpoint)
    plane.envoy.stop(0)
    with pytest.raises(RoutesLate, match="not connected"):
        plane.do(_late(plane.discovery))
    plane.start_envoy()
    assert plane.call("/function/f", b"0")[0] == 200
    assert plane.set("f") < 1
    assert plane.problem("/function/f49/x")["error"] == "FunctionNotFound"  # the watcher's own


def test_changes_before_envoy_connects_are_applied_when_it_does(plane, launch):
    endpoint = launch(SLEEPER, function="f").endpoint
    new = launch(SLEEPER, function="new").endpoint
    plane.set("f")
    plane.set("gone", endpoint)
    plane.envoy.stop(0)

    async def change() -> int:
        plane.discovery.remove_function("gone")
        plane.discovery.set_function("new", [Destination(new)], CallLimits())
        version: int = plane.discovery.set_function("f", [Destination(endpoint)], CallLimits())
        return version

    version = plane.do(change())
    with pytest.raises(RoutesLate, match="not connected"):
        plane.do(plane.discovery.wait_applied(version, 0.1))
    plane.start_envoy()
    plane.do(plane.discovery.wait_applied(version, 5))
    plane.serve_control()
    codes = [plane.call(f"/function/{name}", b"0")[0] for name in ("f", "new", "gone")]
    assert codes == [200, 200, 404]


async def _late(discovery: XdsServer) -> None:
    version = discovery.set_function("later", [], CallLimits())
    await discovery.wait_applied(version, 0.3)


def test_a_new_discovery_service_takes_over_without_a_failed_call(plane, launch):
    plane.serve_control()
    endpoint = launch(SLEEPER, function="f").endpoint
    plane.set("f", endpoint)
    plane.set("old", endpoint)
    with Load(plane, "/function/f") as load:
        discovery = XdsServer()
        discovery.set_function("f", [Destination(endpoint, 1)], CallLimits())
        version = discovery.set_function("new", [Destination(endpoint, 1)], CallLimits())
        began = time.monotonic()
        plane.restart_discovery(discovery)
        plane.do(discovery.wait_applied(version, 5))
        took = time.monotonic() - began
        plane.until(lambda: plane.call("/function/old", b"0")[0] == 404, 2)
    assert load.failures == []
    assert took < 2


def test_a_rejected_change_affects_no_other(plane, launch):
    endpoint = launch(SLEEPER, function="f").endpoint

    async def change() -> tuple[int, int]:
        good = plane.discovery.set_function("f", [Destination(endpoint)], CallLimits())
        too_long = Destination("unix:/" + "x" * 200)
        bad = plane.discovery.set_function("bad", [too_long], CallLimits())
        return good, bad

    good, bad = plane.do(change())
    plane.do(plane.discovery.wait_applied(good, 5))
    with pytest.raises(RoutesRejected, match="bad"):
        plane.do(plane.discovery.wait_applied(bad, 5))
    assert plane.call("/function/f", b"0")[0] == 200
    plane.set("bad", endpoint)
    assert plane.set("g", endpoint) < 1


def test_a_thousand_functions(plane, launch, short_dir, record_property):
    endpoint = launch(SLEEPER, function="f0").endpoint
    times = {1: [plane.set("f0", endpoint)]}

    async def fill(first: int, last: int) -> None:
        for number in range(first, last):
            idle = Destination(f"unix:{short_dir}/{number}.sock")
            version = plane.discovery.set_function(f"f{number}", [idle], CallLimits())
        await plane.discovery.wait_applied(version, 10)

    for last in (100, 1000):
        plane.do(fill(last // 10, last))
        times[last] = []
        for _ in range(5):
            times[last] += [plane.set("f0"), plane.set("f0", endpoint)]
            assert plane.call("/function/f0", b"0")[0] == 200
            times[last] += [plane.set("new", endpoint)]
            plane.remove("new")
    slowest = {number: max(seconds) for number, seconds in times.items()}
    record_property("slowest change in force, seconds", slowest)
    record_property("Envoy's memory with 1,000 functions, bytes", plane.memory())
    assert slowest[1000] <= 0.1
    assert plane.memory() < 200 * 1024**2
