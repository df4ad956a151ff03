"""Runs a gateway as a user does: the command line starts it, with all of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcf.client.client import Client
from dcf.gateway import processes
from dcf.settings import Locations
from dcf.supervision.process_messages import ProcessStatus
from dcf.supervision.supervisor_client import SupervisorClient
from ports import free_port

CLI = (sys.executable, "-m", "dcf.cli")
PATIENCE = 60


class GatewayProcess:
    """A gateway with its own data directory. Packages come from the user's caches.

    Args:
        folder: Folder for its data.
        runtime: Folder for its sockets; a short path.
        options: Further options of ``gateway start``.
        before: A command prefix that runs the gateway's command.
        trust: The certificate of a gateway with TLS.
        shared: Whether several tests use it.
        data: Its data directory; None creates a directory in ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Path,
        *options: str,
        before: Sequence[str] = (),
        trust: Path | None = None,
        shared: bool = False,
        data: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if trust else 'http'}://127.0.0.1:{self.port}"
        self._trust = trust
        self._options = options
        self._before = before
        base = {name: value for name, value in os.environ.items() if not name.startswith("DCF_")}
        self.env = base | {
            "DCF_DATA_DIR": str(data or folder / "data"),
            "DCF_STATE_DIR": str(folder / "state"),
            "DCF_SECRETS_DIR": str(folder / "secrets"),
            "DCF_RUNTIME_DIR": str(runtime),
            "DCF_GATEWAY": self.url,
        }
        if trust is not None:
            self.env["SSL_CERT_FILE"] = str(trust)
        self._marks = {"SHARED_BY_TESTS": "1"} if shared else {}
        self.places = Locations.from_mapping(self.env)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "gateway.log"

    # Lifecycle

    def start(self) -> None:
        """Start it in the foreground; return when it answers."""
        command = [
            *self._before,
            *CLI,
            "gateway",
            "start",
            "--port",
            str(self.port),
            *self._options,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.env, **self._marks},
            )
        self.until(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise

    def kill_everything(self) -> None:
        """Kill all processes at once, like a power failure."""
        pids = self.pids()
        assert self.process is not None
        for pid in (self.process.pid, *pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    # Processes

    def statuses(self) -> dict[str, ProcessStatus]:
        client = SupervisorClient(processes.supervisor_socket(self.places))
        return {status.name: status for status in asyncio.run(client.list())}

    def pid(self, name: str) -> int:
        return self.statuses()[name].pid

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def replicas(self, function: str) -> list[str]:
        """Return the names of the living replica processes."""
        mine = f"replica.{function}."
        return [
            name for name, status in self.statuses().items() if name.startswith(mine) and status.pid
        ]

    @property
    def supervisor(self) -> int:
        """Return the pid of the supervisor."""
        state = os.fsencode(processes.supervisor_state(self.places))
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"dcf.supervision" in command and state in command:
                    return int(entry.name)
        raise AssertionError("no supervisor runs")

    def pids(self) -> list[int]:
        """Return the pids of the supervisor and of every process that it started."""
        return [self.supervisor, *(status.pid for status in self.statuses().values() if status.pid)]

    # Requests

    @property
    def token(self) -> str:
        return (self.places.gateway / "token").read_text().strip()

    @functools.cached_property
    def client(self) -> Client:
        return Client(self.url, self.token)

    def dcf(
        self,
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002  the name that subprocess.run uses
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command until it exits."""
        return subprocess.run(
            [*CLI, *map(str, arguments)],
            input=input,
            capture_output=True,
            cwd=cwd,
            env={**self.env, **(env or {})},
            timeout=PATIENCE,
            check=False,
        )

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body. Names are lowercase; repeated headers are joined."""
        with contextlib.closing(self._connection()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            headers_by_name = {
                name.lower(): response.headers.get_all(name) for name in response.headers
            }
            joined = {name: ", ".join(values or ()) for name, values in headers_by_name.items()}
            return response.status, joined, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self._trust is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        context = ssl.create_default_context(cafile=self._trust)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=context
        )

    def manage(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """Send a request with the management token; return status and decoded JSON."""
        headers = {"authorization": f"Bearer {self.token}"}
        status, _, reply = self.request(method, path, body, headers)
        return status, json.loads(reply) if reply else None

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("GET", path)

    def call(self, name: str, body: bytes = b"") -> tuple[int, bytes]:
        status, _, reply = self.request("POST", f"/function/{name}", body)
        return status, reply

    def until(self, holds: Callable[[], object], patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < end, (
                f"the condition did not become true\n{self.log.read_text()[-4000:]}"
            )
            time.sleep(0.01)

    def until_ready(self, name: str, replicas: int = 1) -> None:
        self.until(lambda: self.client.function(name).ready == replicas)

    def write(self, name: str, handler: str, *, config: str = "", requirements: str = "") -> Path:
        """Write a function's folder. ``config`` is indented by four spaces, below the name."""
        folder = self.folder / "functions" / name
        (folder / "src").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(f"functions:\n  {name}:\n    runtime: python\n{config}")
        (folder / "src" / "handler.py").write_text(handler)
        (folder / "requirements.txt").write_text(requirements)
        return folder

    def deploy(self, folder: Path, *more: str) -> None:
        result = self.dcf("function", "deploy", f"{folder}/", *more)
        assert result.returncode == 0, result.stderr.decode()


@contextlib.contextmanager
def running(
    folder: Path,
    *options: str,
    before: Sequence[str] = (),
    trust: Path | None = None,
    shared: bool = False,
    data: Path | None = None,
) -> Iterator[GatewayProcess]:
    """Run a gateway that answers; if it still runs at the end, stop it in an orderly way."""
    # The path of a socket must be short; pytest's own folders may be too long.
    with tempfile.TemporaryDirectory(prefix="dcf-", dir="/tmp") as runtime:
        gateway = GatewayProcess(
            folder, Path(runtime), *options, before=before, trust=trust, shared=shared, data=data
        )
        try:
            gateway.start()
            yield gateway
            assert gateway.process is not None
            if gateway.process.poll() is None:
                gateway.stop()
        except BaseException:
            if gateway.process is not None and gateway.process.poll() is None:
                with contextlib.suppress(Exception):
                    gateway.kill_everything()
            raise
        finally:
            gateway.client.close()
