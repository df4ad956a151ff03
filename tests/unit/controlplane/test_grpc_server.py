"""The gRPC server's socket."""

from __future__ import annotations

import asyncio
import gc
import stat
from pathlib import Path

import grpc
import pytest

from dcf.catalog.catalog import Catalog
from dcf.controlplane.auth import Authorizer
from dcf.controlplane.grpc import server
from dcf.controlplane.grpc.server import GrpcServer
from dcf.controlplane.tokens import Tokens
from dcf.errors import AddressInUse
from dcf.protocol.progress import Progress, ProgressKind
from process.stub import PATIENCE, Stub
from unit.controlplane.grpc_kit import Plane
from unit.controlplane.http_kit import DIGEST


def made(path: Path, plane: Plane | None = None) -> tuple[GrpcServer, str]:
    """A server, and the token for it."""
    tokens = Tokens(b"0" * 32, Catalog(None).keys)
    return GrpcServer(plane or Plane(), Authorizer(tokens, is_open=True), path), tokens.management


def ask(path: Path) -> str:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        told: str = Stub(channel)("HealthCheck").Msg
        return told


def test_a_killed_servers_socket_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    path.write_text("left over")

    async def run() -> None:
        one, _ = made(path)
        await one.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await asyncio.to_thread(ask, path) == "ok"
        await one.stop()

    asyncio.run(run())


def test_a_socket_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    one, _ = made(tmp_path / "no" / "grpc.sock")

    with pytest.raises(AddressInUse, match="cannot listen on"):
        asyncio.run(one.start())
    gc.collect()  # grpcio's thread ends with the last of its objects


def test_a_request_that_does_not_end_does_not_keep_the_server_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE", 0)
    path = tmp_path / "grpc.sock"
    plane = Plane()
    plane.steps = [Progress(ProgressKind.STARTED, step="endless")]

    async def run() -> grpc.StatusCode:
        one, token = made(path, plane)
        await one.start()
        with grpc.insecure_channel(f"unix:{path}") as channel:
            deploy = Stub(channel, token).error
            asking = asyncio.create_task(
                asyncio.to_thread(deploy, "Deploy", Service="hello", Image=DIGEST)
            )
            assert await asyncio.to_thread(plane.reached.wait, PATIENCE)
            await one.stop()
            code, _ = await asking
        return code

    assert asyncio.run(run()) is not grpc.StatusCode.OK
    assert plane.closed.is_set()


def test_a_server_that_never_started_stops(tmp_path: Path) -> None:
    asyncio.run(made(tmp_path / "grpc.sock")[0].stop())
