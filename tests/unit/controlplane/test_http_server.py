"""The server's socket."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from dcf.controlplane.http import server
from dcf.controlplane.http.server import HttpServer
from dcf.errors import AddressInUse
from unit.controlplane.http_kit import Connection


async def _app(_scope, _receive, send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(path: Path) -> int:
    connection = Connection(path)
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_killed_servers_socket_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("left over")

    async def run() -> None:
        one = HttpServer(_app, path)
        await one.start()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await asyncio.to_thread(ask, path) == 204
        await one.stop()

    asyncio.run(run())
    assert not path.exists()


def test_a_socket_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "no" / "control.sock"

    with pytest.raises(AddressInUse, match="cannot listen on"):
        asyncio.run(HttpServer(_app, path).start())


def test_a_request_that_does_not_end_does_not_keep_the_server_running(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(server, "GRACE", 0)
    path = tmp_path / "control.sock"

    async def run() -> None:
        reached = asyncio.Event()

        async def endless(_scope, _receive, _send) -> None:
            reached.set()
            await asyncio.Event().wait()

        one = HttpServer(endless, path)
        await one.start()
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        await reached.wait()
        await one.stop()
        writer.close()

    asyncio.run(run())


def test_a_server_that_never_started_stops(tmp_path: Path) -> None:
    asyncio.run(HttpServer(_app, tmp_path / "control.sock").stop())
