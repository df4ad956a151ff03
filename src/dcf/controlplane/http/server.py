"""The control plane's HTTP server, on a Unix socket behind Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from dcf.net.listeners import listen_unix

KEEP_ALIVE = 2 * 3600
"""Seconds that an idle connection stays open. Longer than Envoy keeps its own end, an hour, so that
it is never this one who closes a connection that a request is just being sent on."""

GRACE = 2
"""Seconds that requests under way may take once the server is to end."""

BACKLOG = 512
"""Connections that may wait to be accepted."""


class HttpServer:
    """Serves an application until it is stopped. Signals are the caller's."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        """A server at rest.

        Args:
            app: The application.
            path: Its socket, in a private folder; what a killed server left there is replaced.
        """
        self._path = path
        self._server = _Server(app)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once requests are accepted.

        Raises:
            AddressInUse: When the socket cannot be made.
        """
        listener = listen_unix(self._path, BACKLOG)
        serving = self._server.serve(sockets=[listener])
        self._serving = asyncio.get_running_loop().create_task(serving)
        await self._server.running.wait()

    async def stop(self) -> None:
        """Accepts nothing more; requests under way get :data:`GRACE` seconds."""
        if self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        self._path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # its warnings are of what anybody may send
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self.running = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.running.set()
