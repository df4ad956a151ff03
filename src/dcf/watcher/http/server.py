"""The HTTP server: its listener, its start and its drain.

It is uvicorn with httptools and uvloop, chosen by measurement: docs/decisions/0003-http-server.md.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

from dcf.errors import AddressInUse
from dcf.model.endpoint import Endpoint
from dcf.net import listeners
from dcf.watcher.http.third_party import Config, Server

KEEP_ALIVE = 120
"""Seconds for which an idle connection stays open. A proxy closes idle connections earlier, so the
watcher never closes a connection on which a call is just being sent."""

BACKLOG = 2048
"""Maximum number of connections that wait to be accepted."""


def listen(address: str) -> socket.socket:
    """Open the socket that ``WatcherSettings.listen`` names.

    Raises:
        AddressInUse: If it cannot be opened.
    """
    kind, _, rest = address.partition(":")
    try:
        if kind == "fd":
            handed_down = socket.socket(fileno=int(rest))
            handed_down.set_inheritable(False)
            return handed_down
        return listeners.listen(Endpoint.parse(address), BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise AddressInUse(f"cannot listen on {address}: {error}") from error


class BrokenStream(Exception):
    """Raised into the server to reset a connection: the reply has begun and cannot be finished."""


def _keep(record: logging.LogRecord) -> bool:
    """Filter uvicorn's messages about broken streams, which the watcher has logged already."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenStream))


class WatcherServer(Server):
    """uvicorn's server. The host handles signals and decides when the server ends."""

    def __init__(
        self, app: Any, protocol: Any, *, drain: float, on_started: Callable[[], None]
    ) -> None:
        """Create a server that does not serve yet.

        Args:
            app: The ASGI application.
            protocol: Creates the protocol of a connection. uvicorn calls it like its own protocol.
            drain: Seconds that calls in progress may take after :meth:`finish`.
            on_started: Called once connections are accepted.
        """
        self._on_started = on_started
        logging.getLogger("uvicorn.error").addFilter(_keep)
        config = Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            # The host ends all calls after the drain. This limit is for tasks that ignore it.
            timeout_graceful_shutdown=round(drain) + 2,
            backlog=BACKLOG,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and report that."""
        await super().startup(sockets)
        self._on_started()

    def stop_accepting(self) -> None:
        """Accept no new connections. Open connections stay open."""
        for server in getattr(self, "servers", ()):
            server.close()

    def finish(self) -> None:
        """End the server: accept no new connections, and finish the calls in progress."""
        self.should_exit = True
