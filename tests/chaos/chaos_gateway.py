"""A real gateway for chaos, observed from outside."""

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

from dcf.client.client import Client
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
"""Marker in the command line of the supervisor."""

MARK = "CHAOS_GATEWAY"
"""Variable that marks every process of this gateway."""

SETTINGS = {"DCF_CONTROL_HEALTH_INTERVAL": "0.5", "DCF_CONTROL_HEALTH_SILENCE": "4"}
"""Short liveness settings, so that a process that is stopped for some seconds is detected within
the run."""


ASK = 1.0
"""Seconds for a part of the gateway to answer; it may be stopped."""

PROBE = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
"""A gRPC call without a message, as Envoy passes it to the bridge."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the gateway.

    Attributes:
        pid: Its id.
        parent: The id of its parent.
        command: Its command line, for people.
        memory: Bytes in use.
    """

    pid: int
    parent: int
    command: str
    memory: int


class ChaosGateway:
    """A gateway, and what can be observed without its help.

    Args:
        folder: Folder for its data and logs.
        runtime: Folder for its sockets; a short path.
    """

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.gateway_process = GatewayProcess(folder, runtime)
        self._mark = uuid.uuid4().hex
        self.gateway_process.env |= {MARK: self._mark, **SETTINGS}

    # Observed from outside

    @property
    def root(self) -> int:
        """Return the pid of ``gateway start``."""
        process = self.gateway_process.process
        if process is None:
            raise RuntimeError("the gateway was not started")
        return process.pid

    def processes(self) -> dict[int, Process]:
        """Return every living process that descends from this gateway, wherever it is now."""
        processes = {}
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
                    processes[pid] = Process(pid, int(parent), command, memory)
        return processes

    def envoy_answers(self) -> bool:
        """Return whether Envoy answers, by itself or with the answer of the control plane."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_process.port, timeout=2)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                return False
        return True

    def control_answers(self) -> bool:
        """Return whether the control plane answers."""
        try:
            with Client(self.gateway_process.url, self.gateway_process.token, timeout=2) as client:
                client.gateway_info()
        except DcfError:
            return False
        return True

    def events(self, functions: Iterable[str]) -> Iterator[Event]:
        """Return the events of the control plane; none while it does not answer."""
        with Client(self.gateway_process.url, self.gateway_process.token, timeout=ASK) as client:
            for name in functions:
                try:
                    yield from client.events(name)
                except FunctionNotFound:
                    continue
                except DcfError:
                    return

    def bridge_answers(self) -> bool:
        """Return whether the bridge answers."""
        path = Sockets.under(self.gateway_process.places.gateway_runtime).bridge
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ASK)
            try:
                probe.connect(str(path))
                probe.sendall(PROBE)
                return probe.recv(100).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    # Reported by the supervisor

    def replicas(self) -> dict[str, int]:
        """Return the pids of living replicas by name, without the supervisor's prefix."""
        return {
            name.removeprefix(PREFIX): status.pid
            for name, status in self._statuses().items()
            if name.startswith(PREFIX) and status.pid
        }

    def pid(self, name: str) -> int:
        """Return the pid of a part other than a replica; 0 if it does not run."""
        return self._statuses()[name].pid

    def parts(self) -> dict[str, int]:
        """Return the pids of all parts other than replicas."""
        statuses = self._statuses()
        return {name: statuses[name].pid for name in (CONTROL, BRIDGE, ENVOY)}

    @property
    def supervisor(self) -> int:
        """Return the supervisor's pid; 0 if it does not run."""
        pids = (
            process.pid
            for process in self.processes().values()
            if SUPERVISOR in process.command and process.parent == self.root
        )
        return next(pids, 0)

    def _statuses(self) -> dict[str, ProcessStatus]:
        client = SupervisorClient(supervisor_socket(self.gateway_process.places))

        async def statuses() -> list[ProcessStatus]:
            async with asyncio.timeout(ASK):
                return list(await client.list())

        try:
            return {status.name: status for status in asyncio.run(statuses())}
        except TimeoutError as error:
            raise SupervisorUnreachable(f"the supervisor did not answer in {ASK:g} s") from error

    # After the gateway has ended

    def catalog_faults(self) -> Iterator[str]:
        """Return the errors of the catalog's file."""
        path = self.gateway_process.places.gateway / "catalog.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for check in ("integrity_check", "foreign_key_check"):
                for row in connection.execute(f"PRAGMA {check}"):
                    if row != ("ok",):
                        yield f"{check}: {row}"

    def left(self) -> list[str]:
        """Return what an ended gateway should not have left behind."""
        leftovers = [
            f"process {process.pid} {process.command}" for process in self.processes().values()
        ]
        leftovers += [
            f"socket {path}"
            for path in self.runtime.rglob("*")
            if stat.S_ISSOCK(path.lstat().st_mode)
        ]
        places = self.gateway_process.places
        leftovers += [
            f"workspace {path}"
            for folder in (places.replicas, places.workspaces)
            if folder.is_dir()
            for path in folder.iterdir()
        ]
        return leftovers + [f"control group {path}" for path in self._groups()]

    def _groups(self) -> list[Path]:
        prefix = group_prefix(supervisor_socket(self.gateway_process.places))
        return [path for folder in Cgroups.find()._folders for path in folder.glob(f"{prefix}*")]
