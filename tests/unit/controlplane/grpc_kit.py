"""The control plane's gRPC server on a real socket, with a service that the test controls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from dcf.catalog.catalog import Catalog
from dcf.controlplane.auth import Authorizer
from dcf.controlplane.grpc.server import GrpcServer
from dcf.controlplane.tokens import Tokens
from dcf.errors import BlobsMissing
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec, Resources
from dcf.model.revision import Revision
from process.stub import Stub
from unit.controlplane import http_kit
from unit.controlplane.http_kit import DIGEST

SPEC = FunctionSpec(
    "hello",
    timeout=7.0,
    environment={"A": "1", "B": "2"},
    limits=Resources(memory=1000, cpu=2.0),
    secrets=("api-key",),
)


class Plane(http_kit.Plane):
    """A service that has the artifact of ``hello``."""

    async def last_of(self, artifact: str, name: str) -> Revision:
        if artifact != DIGEST:
            raise BlobsMissing(f"there is no artifact {artifact} here")
        self.asked.append((artifact, name))
        return Revision("hello", 3, Artifact(DIGEST, DIGEST), SPEC, 1.0)


@dataclass
class Served:
    """A running server.

    Attributes:
        channel: A channel to it.
        plane: Its service.
        tokens: Its tokens.
    """

    channel: grpc.Channel
    plane: Plane
    tokens: Tokens

    @property
    def manager(self) -> Stub:
        """A client with the management token."""
        return Stub(self.channel, self.tokens.management)

    @property
    def stranger(self) -> Stub:
        """A client without a token."""
        return Stub(self.channel)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[dict[str, Served]]:
    """Run two gateways, ``open`` and ``closed``, in a thread."""
    catalog = Catalog(None)
    tokens = Tokens(os.urandom(32), catalog.keys)
    names = ("open", "closed")
    planes = {name: Plane() for name in names}
    loop = asyncio.new_event_loop()
    started, ended = threading.Event(), asyncio.Event()

    async def run() -> None:
        servers = [
            GrpcServer(
                planes[name], Authorizer(tokens, is_open=name == "open"), folder / f"{name}.sock"
            )
            for name in names
        ]
        for server in servers:
            await server.start()
        started.set()
        await ended.wait()
        await asyncio.gather(*(server.stop() for server in servers))

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10)
    with contextlib.ExitStack() as stack:
        bounds = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channels = {
            name: stack.enter_context(
                grpc.insecure_channel(f"unix:{folder}/{name}.sock", options=bounds)
            )
            for name in names
        }
        try:
            yield {name: Served(channels[name], planes[name], tokens) for name in names}
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            catalog.close()
