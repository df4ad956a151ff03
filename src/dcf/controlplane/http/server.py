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
"""Seconds that an idle connection stays open. Envoy closes its end after an hour, so this server
never closes a connection on which Envoy is about to send a request."""

GRACE = 2
"""Seconds that requests in progress get when the server stops."""

BACKLOG = 512
"""Maximum connections that wait to be accepted."""


class HttpServer:
    """Serves an ASGI application. It leaves signals to the caller."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        """Create a server. :meth:`start` starts it.

        Args:
            app: The application.
            path: Its socket, in a private folder. A leftover socket is replaced.
        """
        self._path = path
        self._server = _Server(app)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and return once requests are accepted.

        Raises:
            AddressInUse: If the socket cannot be created.
        """
        listener = listen_unix(self._path, BACKLOG)
        serving = self._server.serve(sockets=[listener])
        self._serving = asyncio.get_running_loop().create_task(serving)
        await self._server.running.wait()

    async def stop(self) -> None:
        """Stop. Requests in progress get :data:`GRACE` seconds."""
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
            log_level="error",  # its warnings are about what clients send
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
