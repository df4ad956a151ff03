"""Hung builds of a gateway end with their client, and do not block other builds."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from e2e.gateway_process import CLI, GatewayProcess, running
from process.test_builder_trees import BACKEND, PROJECT, is_alive

pytestmark = pytest.mark.slow

HANDLER = """
class Handler:
    def __call__(self, req):
        return {!r}
"""


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


class Deploy:
    """A deploy of a function with a package whose build hangs.

    Args:
        gateway: The gateway.
        name: The function.
        package: The package, which makes the environment unique.
    """

    def __init__(self, gateway: GatewayProcess, name: str, package: str) -> None:
        self.pids = gateway.folder / f"pids-{package}"
        self.pids.mkdir(exist_ok=True)
        folder = gateway.write(name, HANDLER.format(name), requirements="./hangs\n")
        (folder / "hangs").mkdir()
        (folder / "hangs" / "pyproject.toml").write_text(PROJECT.format(version='version = "1.0"'))
        (folder / "hangs" / "backend.py").write_text(BACKEND.format(place=str(self.pids)))
        self.process = subprocess.Popen(
            [*CLI, "function", "deploy", f"{folder}/"],
            env=gateway.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                self._lines.put(line)

    def says(self, text: str) -> None:
        """Return once the build hangs."""
        while text not in self._lines.get(timeout=30):
            pass

    def hangs(self) -> bool:
        return len(list(self.pids.iterdir())) == 4

    def is_over(self) -> bool:
        return not any(is_alive(int(path.read_text())) for path in self.pids.iterdir())

    def end(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)
        self.process.wait(30)
        self._thread.join()


@pytest.fixture
def deploy(gateway: GatewayProcess) -> Iterator[Callable[[str, str], Deploy]]:
    with ExitStack() as stack:

        def start(name: str, package: str) -> Deploy:
            hung_deploy = Deploy(gateway, name, package)
            stack.callback(hung_deploy.end)
            return hung_deploy

        yield start


def test_hung_builds_do_not_block_others_and_end_with_their_clients(
    gateway: GatewayProcess, deploy: Callable[[str, str], Deploy]
) -> None:
    steady = gateway.write("steady", HANDLER.format("one"))
    gateway.deploy(steady)
    first, second = deploy("first", "a"), deploy("second", "b")
    gateway.until(first.hangs)
    gateway.until(second.hangs)

    gateway.write("steady", HANDLER.format("two"))
    result = gateway.dcf("function", "deploy", f"{steady}/")
    assert result.returncode == 0, result.stderr
    assert b"Waiting" not in result.stderr
    assert gateway.call("steady") == (200, b"two")

    twin = deploy("twin", "a")
    twin.says("Waiting for another build of the same environment")
    third, fourth = deploy("third", "c"), deploy("fourth", "d")
    third.says("Waiting for other builds: position ")
    fourth.says("Waiting for other builds: position ")
    assert not third.hangs()

    twin.end()
    first.end()
    gateway.until(first.is_over)
    gateway.until(lambda: third.hangs() or fourth.hangs())
    second.end(signal.SIGKILL)
    gateway.until(second.is_over)
    gateway.until(lambda: third.hangs() and fourth.hangs())

    gateway.kill("gateway.control")
    gateway.until(third.is_over)
    gateway.until(fourth.is_over)
    gateway.until(gateway.answers)
    assert [function.name for function in gateway.client.functions()] == ["steady"]


def test_a_hung_build_of_a_gateway_has_a_time_limit(
    gateway: GatewayProcess, deploy: Callable[[str, str], Deploy]
) -> None:
    gateway.stop()
    gateway.env["DCF_BUILD_TIMEOUT"] = "12"
    gateway.start()
    hung = deploy("hung", "e")
    hung.says("expected the build to end within 12 s (DCF_BUILD_TIMEOUT), got a timeout")
    assert hung.process.wait(30) == 4
    assert hung.hangs()
    assert hung.is_over()


def test_builds_end_with_their_gateway(
    gateway: GatewayProcess, deploy: Callable[[str, str], Deploy]
) -> None:
    hung = deploy("hung", "f")
    gateway.until(hung.hangs)
    assert gateway.stop() == 0
    assert hung.is_over()
    assert hung.process.wait(30) != 0
