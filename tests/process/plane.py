"""A real Envoy with a real discovery service, in front of a stub of the control plane."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dcf.dataplane import bootstrap, envoy
from dcf.dataplane.admin import get
from dcf.dataplane.ext_authz_server import CheckHandler, CheckRequest, CheckResult, ExtAuthzServer
from dcf.dataplane.xds_server import XdsServer
from dcf.model.routing import CallLimits, Destination
from dcf.settings import BridgeSettings, DataplaneSettings
from ports import free_port
from process.child import Child

PATIENCE = 10
T = TypeVar("T")


class Plane:
    def __init__(self, folder: Path, **settings) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = DataplaneSettings(port=self.port, threads=1, **settings)
        self.sockets = bootstrap.Sockets.under(folder)
        self.discovery = XdsServer()
        self._config = folder / "envoy.json"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self.asked: list[CheckRequest] = []
        self.judge: CheckHandler = passing
        self.checks = ExtAuthzServer(self._judge)
        self.log = (folder / "log").open("wb")
        bootstrap.write(self._config, self.settings, self.sockets)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def _judge(self, asked: CheckRequest) -> CheckResult:
        self.asked.append(asked)
        return await self.judge(asked)

    def start(self) -> None:
        self.do(self.discovery.start(self.sockets.discovery))
        self.do(self.checks.start(self.sockets.hold))
        self.start_envoy()

    def start_envoy(self) -> None:
        command = envoy.command(envoy.find(), self._config, self.settings)
        self.envoy = Child(command, env=os.environ, cwd=self.folder, log=self.log.fileno())
        self.until(lambda: envoy.ready(self.sockets.admin))

    def until(self, condition, patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "it did not come to pass"
            assert self.envoy.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)

    def start_bridge(self, **settings) -> Child:
        """Start Envoy, and wait until it accepts connections."""
        own = BridgeSettings(str(self.sockets.bridge), str(self.sockets.calls), **settings)
        self.sockets.bridge.unlink(missing_ok=True)
        self.bridge = Child(
            (sys.executable, "-m", "dcf.bridge"),
            env={**os.environ, **own.to_mapping()},
            cwd=self.folder,
            log=self.log.fileno(),
        )
        self.until(self._bridge_accepts)
        return self.bridge

    def _bridge_accepts(self) -> bool:
        assert self.bridge.poll() is None, (self.folder / "log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.sockets.bridge)) == 0

    def bridge_log(self, count: int) -> list[dict]:
        """Wait for the first lines of the bridge's log of calls."""
        lines: list[str] = []

        def there() -> bool:
            text = (self.folder / "log").read_text()
            lines[:] = [line for line in text.splitlines() if "INFO dcf.bridge: {" in line]
            return len(lines) >= count

        self.until(there)
        return [json.loads(line.partition("dcf.bridge: ")[2]) for line in lines]

    def restart_discovery(self, discovery: XdsServer) -> None:
        self.do(self.discovery.stop())
        self.discovery = discovery
        self.do(discovery.start(self.sockets.discovery))

    def set(self, name: str, *endpoints: str, revision: int = 1, **limits) -> float:
        """Return the seconds until Envoy has applied it."""
        destinations = [Destination(endpoint, revision) for endpoint in endpoints]

        async def change() -> float:
            began = time.monotonic()
            version = self.discovery.set_function(name, destinations, CallLimits(**limits))
            await self.discovery.wait_applied(version, PATIENCE)
            return time.monotonic() - began

        return self.do(change())

    def remove(self, name: str) -> None:
        async def change() -> None:
            version = self.discovery.remove_function(name)
            await self.discovery.wait_applied(version, PATIENCE)

        self.do(change())

    def serve(self, path: Path, answer) -> str:
        """Start a server on a Unix socket; return its endpoint."""
        self._servers.append(self.do(asyncio.start_unix_server(answer, path)))
        return f"unix:{path}"

    def serve_control(self) -> None:
        self.serve(self.sockets.control, control)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def call(self, path: str, body: bytes = b"", method: str = "POST", **headers: str):
        """Return status, headers (lowercase names) and body."""
        with contextlib.closing(self.connection()) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            given: dict[str, str] = {}
            for name, value in response.getheaders():
                given[name.lower()] = ", ".join(filter(None, [given.get(name.lower()), value]))
            return response.status, given, response.read()

    def call_privately(self, path: str) -> tuple[int, bytes]:
        """Send a GET through the Unix socket; return status and body."""
        return get(self.sockets.calls, path, PATIENCE)

    def problem(self, path: str, body: bytes = b"", **headers: str) -> dict:
        status, given, text = self.call(path, body, **headers)
        assert given["content-type"] == "application/problem+json", text
        problem: dict = json.loads(text)
        assert problem["status"] == status
        assert problem["request_id"] == given["x-request-id"]
        return problem

    def access_log(self, count: int) -> list[dict]:
        """Wait for the first lines of the access log."""
        lines: list[dict] = []
        while len(lines) < count:
            line = self.envoy.read_line(PATIENCE)
            assert line, "no such line"
            lines.append(json.loads(line))
        return lines

    def memory(self) -> int:
        """Return Envoy's resident memory in bytes."""
        status = Path(f"/proc/{self.envoy.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def stop(self) -> None:
        if hasattr(self, "bridge"):
            self.bridge.stop(0)
        if hasattr(self, "envoy"):
            self.envoy.stop(0)
        self.log.close()
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.close)
        self.do(self.discovery.stop())
        self.do(self.checks.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()


async def passing(_asked: CheckRequest) -> CheckResult:
    """Release every held call at once."""
    return CheckResult(request={"x-dcf-held-ms": "0"})


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reply with the path of the request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"^content-length: (\d+)\r$", head, re.MULTILINE)
    # Read the body: closing a connection with unread data loses the reply.
    await reader.readexactly(int(length[1]) if length else 0)
    body = json.dumps({"control": head.split()[1]}).encode()
    writer.write(
        b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await writer.drain()
    writer.close()


@contextlib.contextmanager
def running(folder: Path, **settings) -> Iterator[Plane]:
    plane = Plane(folder, **settings)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
