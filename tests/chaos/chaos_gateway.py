"""A real gateway for chaos: what it consists of, seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import sqlite3
import stat
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcf.client.gateway import Client
from dcf.dataplane.bootstrap import Sockets
from dcf.engines.local.cgroups import Cgroups
from dcf.engines.local.engine import PREFIX
from dcf.engines.local.limit_enforcer import group_prefix
from dcf.errors import DcfError, FunctionNotFound, SupervisorUnreachable
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY, supervisor_socket
from dcf.model.event import Event
from dcf.supervision.process_messages import ProcessStatus
from dcf.supervision.supervisor_client import SupervisorClient
from e2e.gateway_process import GatewayProcess

SUPERVISOR = "-m dcf.supervision"
"""In its command line."""

MARK = "CHAOS_WORLD"
"""Names the world in the environment of each of its processes."""

SETTINGS = {"DCF_CONTROL_HEALTH_INTERVAL": "0.5", "DCF_CONTROL_HEALTH_SILENCE": "4"}
"""So that a process that stands still for some seconds is found within the run."""


ASK = 1.0
"""Seconds that a part of the gateway may take to answer; it may be stopped."""

PROBE = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
"""A call of gRPC without a message, as Envoy passes it to the bridge."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the world's.

    Attributes:
        pid: Its id.
        parent: Its parent's.
        command: Its command line, for people.
        memory: Bytes in use.
    """

    pid: int
    parent: int
    command: str
    memory: int


class ChaosGateway:
    """A gateway and what can be seen of it without asking it.

    Args:
        folder: For its data and logs.
        runtime: For its sockets; a short path.
    """

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.house = GatewayProcess(folder, runtime)
        self._mark = uuid.uuid4().hex
        self.house.env |= {MARK: self._mark, **SETTINGS}

    # From outside

    @property
    def root(self) -> int:
        """The pid of ``gateway start``."""
        process = self.house.process
        if process is None:
            raise RuntimeError("the gateway was not started")
        return process.pid

    def processes(self) -> dict[int, Process]:
        """Everything that lives and descends from this gateway, wherever it is now."""
        found = {}
        mark = f"{MARK}={self._mark}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                if mark not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                pages = int((entry / "statm").read_text().split()[1])
                if state != "Z":
                    memory = pages * os.sysconf("SC_PAGE_SIZE")
                    pid = int(entry.name)
                    found[pid] = Process(pid, int(parent), command, memory)
        return found

    def envoy_answers(self) -> bool:
        """Whether Envoy takes connections and has the control plane's answer or its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.house.port, timeout=2)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                return False
        return True

    def control_answers(self) -> bool:
        """Whether the control plane answers."""
        try:
            with Client(self.house.url, self.house.token, timeout=2) as client:
                client.gateway_info()
        except DcfError:
            return False
        return True

    def events(self, functions: Iterable[str]) -> Iterator[Event]:
        """What the control plane says that happened; nothing while it does not answer."""
        with Client(self.house.url, self.house.token, timeout=ASK) as client:
            for name in functions:
                try:
                    yield from client.events(name)
                except FunctionNotFound:
                    continue
                except DcfError:
                    return

    def bridge_answers(self) -> bool:
        """Whether the bridge answers."""
        path = Sockets.under(self.house.places.gateway_runtime).bridge
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ASK)
            try:
                probe.connect(str(path))
                probe.sendall(PROBE)
                return probe.recv(100).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    # By the supervisor's word

    def replicas(self) -> dict[str, int]:
        """The pids of living replicas by their names, without the supervisor's prefix."""
        return {
            name.removeprefix(PREFIX): one.pid
            for name, one in self._statuses().items()
            if name.startswith(PREFIX) and one.pid
        }

    def pid(self, name: str) -> int:
        """Of a part that is no replica; 0 while there is none."""
        return self._statuses()[name].pid

    def parts(self) -> dict[str, int]:
        """The pids of those that are no replicas."""
        statuses = self._statuses()
        return {name: statuses[name].pid for name in (CONTROL, BRIDGE, ENVOY)}

    @property
    def supervisor(self) -> int:
        """The supervisor's pid; 0 while there is none."""
        found = (
            one.pid
            for one in self.processes().values()
            if SUPERVISOR in one.command and one.parent == self.root
        )
        return next(found, 0)

    def _statuses(self) -> dict[str, ProcessStatus]:
        client = SupervisorClient(supervisor_socket(self.house.places))

        async def asked() -> list[ProcessStatus]:
            async with asyncio.timeout(ASK):
                return list(await client.list())

        try:
            return {one.name: one for one in asyncio.run(asked())}
        except TimeoutError as error:
            raise SupervisorUnreachable(f"the supervisor did not answer in {ASK:g} s") from error

    # After its end

    def catalog_faults(self) -> Iterator[str]:
        """What is wrong with the catalog's file."""
        path = self.house.places.gateway / "catalog.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for check in ("integrity_check", "foreign_key_check"):
                for row in connection.execute(f"PRAGMA {check}"):
                    if row != ("ok",):
                        yield f"{check}: {row}"

    def left(self) -> list[str]:
        """What an ended gateway has left that it should not."""
        found = [f"process {one.pid} {one.command}" for one in self.processes().values()]
        found += [
            f"socket {path}"
            for path in self.runtime.rglob("*")
            if stat.S_ISSOCK(path.lstat().st_mode)
        ]
        places = self.house.places
        found += [
            f"workspace {path}"
            for folder in (places.replicas, places.workspaces)
            if folder.is_dir()
            for path in folder.iterdir()
        ]
        return found + [f"control group {path}" for path in self._groups()]

    def _groups(self) -> list[Path]:
        prefix = group_prefix(supervisor_socket(self.house.places))
        return [path for folder in Cgroups.find()._folders for path in folder.glob(f"{prefix}*")]
