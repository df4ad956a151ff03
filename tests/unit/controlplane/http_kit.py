"""The control plane's HTTP server on a real socket, with a service that the test controls."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dcf.builder.uploads import Announced
from dcf.catalog.catalog import Catalog
from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.http.app import make_app
from dcf.controlplane.http.server import HttpServer
from dcf.controlplane.metrics import Metrics
from dcf.controlplane.service import GatewayService
from dcf.controlplane.tokens import Tokens
from dcf.errors import (
    DcfError,
    FunctionNotFound,
    NotReady,
    ReplicaUnknown,
    RolloutInvalid,
    UploadInvalid,
)
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.model.event import Event, EventKind
from dcf.model.status import (
    FunctionState,
    FunctionStatus,
    GatewayInfo,
    MissingBlob,
    ReplicaLine,
    RevisionStatus,
)
from dcf.model.suggest import nearest
from dcf.protocol.progress import Progress, ProgressKind
from dcf.settings import ControlSettings

DIGEST = digest_of(b"blob")


def status(name: str, replicas: int = 1) -> FunctionStatus:
    return FunctionStatus(
        name,
        DIGEST,
        1,
        1,
        FunctionState.READY,
        takes_calls=True,
        invocations=7,
        replicas=replicas,
        ready=1,
        minimum=1,
        maximum=1,
        labels={"a": "b"},
    )


class Plane(GatewayService):
    """A service in memory; the test defines what a deploy does."""

    def __init__(self) -> None:
        self.known = {name: status(name) for name in ("hello", "thumb")}
        self.blobs: dict[str, bytes] = {}
        self.lines = [ReplicaLine(1.5, "r1", "eins"), ReplicaLine(2.25, "r2", "zwei\udcff")]
        self.steps: list[Progress | Exception] = []
        self.deployments: list[DeployRequest] = []
        self.asked: list[object] = []
        self.reached = threading.Event()
        self.closed = threading.Event()

    async def functions(self) -> list[FunctionStatus]:
        return list(self.known.values())

    async def function(self, name: str) -> FunctionStatus:
        if name == "defect":
            raise ZeroDivisionError("with a secret in it")
        if name not in self.known:
            raise FunctionNotFound(f"there is no {name}", nearest(name, self.known))
        return self.known[name]

    async def why_not(self, name: str) -> DcfError:
        await self.function(name)
        return NotReady("not yet")

    async def revisions(self, name: str) -> list[RevisionStatus]:
        await self.function(name)
        return [RevisionStatus(1, DIGEST, 1.0, current=True)]

    async def events(self, name: str) -> list[Event]:
        await self.function(name)
        return [Event(name, EventKind.DEPLOYED, 1.0, 1, "key")]

    async def info(self) -> GatewayInfo:
        return GatewayInfo("1.2.3", len(self.known), 2, 1.0)

    async def metrics(self) -> Metrics:
        return Metrics.of(await self.functions(), {}, {})

    async def deploy(self, wanted: DeployRequest) -> AsyncGenerator[Progress, None]:
        self.deployments.append(wanted)
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                yield step
                if step.step == "endless":
                    self.reached.set()
                    await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def delete(self, name: str) -> None:
        await self.function(name)
        del self.known[name]

    async def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        await self.function(name)
        self.asked.append(replicas)
        return status(name, replicas or 0)

    async def rollback(self, name: str, number: int | None = None) -> FunctionStatus:
        self.asked.append(number)
        return await self.function(name)

    async def promote(self, name: str) -> FunctionStatus:
        await self.function(name)
        raise RolloutInvalid(f"{name} has no canary")

    async def abort(self, name: str) -> FunctionStatus:
        return await self.function(name)

    async def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> AsyncGenerator[ReplicaLine, None]:
        self.asked.append((since, tail, follow, replica))
        await self.function(name)
        if replica == "gone":
            raise ReplicaUnknown("no such replica")
        try:
            for line in self.lines:
                yield line
            if follow:
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def announce(self, files: Sequence[BundleFile], lock: str) -> Announced:
        missing = [MissingBlob(one.digest, one.size) for one in files]
        return Announced(Bundle(tuple(files)).digest, digest_of(lock.encode()), tuple(missing))

    async def receive(
        self, digest: str, offset: int, chunks: AsyncIterable[bytes]
    ) -> tuple[int, bool]:
        have = self.blobs.setdefault(digest, b"")
        if offset != len(have):
            raise UploadInvalid("not the next part", offset=len(have))
        try:
            async for chunk in chunks:
                self.blobs[digest] += chunk
                self.reached.set()
        finally:
            self.closed.set()
        return len(self.blobs[digest]), digest_of(self.blobs[digest]) == digest


class Answer:
    """A reply.

    Attributes:
        status: Its status.
        headers: Its headers.
        body: Its body.
    """

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.read()

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(http.client.HTTPConnection):
    """A client's connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class Served:
    """A running server.

    Attributes:
        path: Its socket.
        plane: What is behind it.
        tokens: Its tokens.
        settings: Its settings.
    """

    def __init__(self, path: Path, tokens: Tokens, settings: ControlSettings) -> None:
        self.path = path
        self.plane = Plane()
        self.tokens = tokens
        self.settings = settings

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request, with the management token unless another token or "" is given."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.tokens.management if token is None else token
        if token:
            sent["authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with contextlib.closing(Connection(self.path)) as connection:
            connection.request(method, target, data, sent)
            return Answer(connection.getresponse())

    def begin(self, head: str) -> socket.socket:
        """Send the beginning of a request, with the management token, and return the connection."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(30)
        sock.connect(str(self.path))
        line, _, rest = head.partition("\r\n")
        token = f"host: here\r\nauthorization: Bearer {self.tokens.management}"
        sock.sendall(f"{line}\r\n{token}\r\n{rest}".encode())
        return sock


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[dict[str, Served]]:
    """Run two gateways, ``open`` and ``closed``, in a thread."""
    catalog = Catalog(None)
    tokens = Tokens(os.urandom(32), catalog.keys)
    found = {
        name: Served(
            folder / f"{name}.sock",
            tokens,
            ControlSettings(open=name == "open", request_limit=100_000),
        )
        for name in ("open", "closed")
    }
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def run() -> None:
        servers = [
            HttpServer(make_app(one.plane, one.tokens, one.settings), one.path)
            for one in found.values()
        ]
        for server in servers:
            await server.start()
        started.set()
        await ended.wait()
        await asyncio.gather(*(server.stop() for server in servers))

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        catalog.close()


READY = Progress(ProgressKind.READY, function=status("hello"))
DEPLOYMENT = {"spec": {"name": "hello"}, "bundle": DIGEST, "lock": DIGEST}
