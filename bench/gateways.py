"""A gateway as a user starts it, for measurements, and functions to deploy to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.environments import cache_folder
from bench.figures import BenchFailed, SkippedBench
from bench.servers import APPS, Server, free_port, started

from dcf.builder.builder import Builder
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.catalog.catalog import Catalog
from dcf.client.client import Client
from dcf.errors import DcfError, IndexUnreachable, NotReady
from dcf.gateway.processes import CONTROL, supervisor_socket
from dcf.model.scaling import ScalingSpec
from dcf.project.locate import locate
from dcf.settings import Locations
from dcf.supervision.process_messages import ProcessStatus
from dcf.supervision.supervisor_client import SupervisorClient

CLI = Path(sys.executable).parent / "dcf-cli"
ECHO = "echo"
PATIENCE = 60.0
"""Maximum seconds for every wait."""
POLL = 0.002
"""Seconds between two polls: the error of a figure that ends with a poll."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answers.

    Attributes:
        url: Its URL.
        client: A client with the management token, for any thread.
        places: Its locations.
        env: The environment of its user's commands.
        pid: The pid of ``dcf-cli gateway start``.
    """

    url: str
    client: Client
    places: Locations
    env: Mapping[str, str]
    pid: int

    def server(self, function: str = ECHO) -> Server:
        """Return a function of the gateway as a server."""
        return Server(f"{self.url}/function/{function}", self.pid)

    def processes(self) -> dict[str, ProcessStatus]:
        """Return the processes of its supervisor, by name."""
        client = SupervisorClient(supervisor_socket(self.places))
        return {status.name: status for status in asyncio.run(client.list())}

    def supervisor(self) -> int:
        """Return the pid of its supervisor."""
        control = self.processes()[CONTROL].pid
        return int(_ps("ppid", control))

    def deploy(self, package: Package, name: str = ECHO, minimum: int = 1) -> None:
        """Deploy under a unique name; return once it is ready."""
        self.client.deploy(named(package, name), minimum=minimum)

    def rest(self, name: str = ECHO) -> None:
        """Stop all replicas of an idle function: the next call starts a replica."""
        self.client.scale(name, 0)
        until_refused(lambda: self.client.call(name), NotReady)
        self.client.scale(name, None)

    def serve(self, name: str = ECHO) -> None:
        """Scale to one replica; return once it is ready."""
        self.client.scale(name, 1)
        until(lambda: self.client.call(name))


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """Run a gateway with its data in ``folder``; enter the block once it answers.

    Raises:
        BenchFailed: If it ends or does not answer; the message has its output.
    """
    port = free_port()
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="dcf-bench-", dir="/tmp") as runtime:
        env = os.environ | {
            "DCF_DATA_DIR": str(folder / "data"),
            "DCF_STATE_DIR": str(folder / "state"),
            "DCF_SECRETS_DIR": str(folder / "secrets"),
            "DCF_RUNTIME_DIR": runtime,
            "DCF_GATEWAY": f"127.0.0.1:{port}",
        }
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("w+") as log:
            command: list[str | Path] = [CLI, "gateway", "start", "--port", str(port)]
            with started(command, log, environment=env) as process:
                yield from _answering(process, port, env)


def _answering(
    process: subprocess.Popen[bytes], port: int, env: Mapping[str, str]
) -> Iterator[Gateway]:
    places = Locations.from_mapping(env)
    url = f"http://127.0.0.1:{port}"
    with Client(url) as visitor:
        until(visitor.gateway_info, process)
    with Client(url, places.token("127.0.0.1", port).read_text().strip()) as client:
        yield Gateway(url, client, places, env, process.pid)


def until(succeeds: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> float:
    """Retry until a request to a gateway succeeds.

    Args:
        succeeds: The request.
        process: A process that must keep running meanwhile.

    Returns:
        The duration in seconds.

    Raises:
        BenchFailed: If it never succeeds.
    """
    begin = time.perf_counter()
    while True:
        try:
            succeeds()
        except DcfError as error:
            reason = str(error)
        else:
            return time.perf_counter() - begin
        if process is not None and process.poll() is not None:
            raise BenchFailed(f"{process.args!r} ended")
        if time.perf_counter() - begin > PATIENCE:
            raise BenchFailed(f"not within {PATIENCE:g} s: {reason}")
        time.sleep(POLL)


def until_refused(call: Callable[[], object], reason: type[DcfError]) -> float:
    """Call until the answer has ``reason``; return the duration in seconds."""

    def refused() -> None:
        try:
            call()
        except reason:
            return
        raise DcfError("it is still answered")

    return until(refused)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Create a folder next to uv's cache, as a user's data folder is: within one file system, uv
    links files.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gateway-", dir=cache_folder()) as folder:
        yield Path(folder)


@contextlib.contextmanager
def one_echo() -> Iterator[Gateway]:
    """Run a gateway with the echo of ``apps/handler.py``, in one replica."""
    with scratch() as folder:
        built = packaged(write(folder / ECHO), folder / "store")
        with gateway(folder) as ours:
            ours.deploy(built)
            yield ours


def write(folder: Path, handler: str = "") -> Path:
    """Write the folder of a function; the default handler is the echo."""
    (folder / "src").mkdir(parents=True)
    text = f"functions:\n  {folder.name}:\n    runtime: python\n"
    (folder / "config.yaml").write_text(text)
    (folder / "requirements.txt").write_text("")
    (folder / "src" / "handler.py").write_text(handler or (APPS / "handler.py").read_text())
    return folder


def packaged(folder: Path, store: Path) -> Package:
    """Package a function, built into a store of its author.

    Raises:
        SkippedBench: If there is no network.
    """
    place = Store(store)
    builder = Builder(place, Uv(os.environ))
    try:
        return package(locate(None, None, folder), builder, place)
    except IndexUnreachable as error:
        raise SkippedBench(f"{folder.name} cannot be built: {error}") from error


def fill(places: Locations, package: Package, numbers: Iterable[int]) -> None:
    """Add idle functions to the catalog of a gateway that does not run.

    A deploy would start a replica of each, to check that it starts.

    Args:
        places: The gateway's locations.
        package: Their package; it was deployed there before.
        numbers: The suffixes of their names.
    """
    with Catalog(places.gateway / "catalog.sqlite") as catalog:
        for number in numbers:
            name = f"{ECHO}-{number}"
            catalog.deploy(named(package, name).spec, package.artifact, wish=ScalingSpec(0, 1))
            catalog.decide(name, 0, "nobody calls")


def named(package: Package, name: str) -> Package:
    """Return the same function under another name."""
    return replace(package, spec=replace(package.spec, name=name))


def memory(pid: int) -> float:
    """Return the mebibytes of a process, without its children."""
    return int(_ps("rss", pid)) / 1024


def _ps(column: str, pid: int) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
