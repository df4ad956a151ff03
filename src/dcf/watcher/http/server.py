"""The HTTP server: where it listens, how it starts and how it drains.

uvicorn with httptools and uvloop, chosen by measurement: docs/decisions/0003-http-server.md.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dcf.errors import AddressInUse
from dcf.watcher.http.third_party import Config, Server

KEEP_ALIVE = 120
"""Seconds that an idle connection stays open. Longer than a proxy keeps its own end idle, so that
it is never the watcher who closes a connection that a call is just being sent on."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def listen(address: str) -> socket.socket:
    """Opens the socket that ``WatcherSettings.listen`` names.

    Raises:
        AddressInUse: When it cannot be opened.
    """
    kind, _, rest = address.partition(":")
    try:
        if kind == "fd":
            handed_down = socket.socket(fileno=int(rest))
            handed_down.set_inheritable(False)
            return handed_down
        if kind == "unix":
            return _listen_unix(Path(rest))
        host, _, port = rest.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise AddressInUse(f"cannot listen on {address}: {error}") from error


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def endpoint(listener: socket.socket) -> str:
    """Where ``listener`` is reached, in the form of ``WatcherSettings.listen``."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"tcp:{host}:{name[1]}"


class BrokenStream(Exception):
    """Raised into the server to reset a connection: the reply has begun and cannot be finished."""


def _keep(record: logging.LogRecord) -> bool:
    """Whether uvicorn's line says something new: of a broken stream the log has told already."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenStream))


class WatcherServer(Server):
    """uvicorn's server; signals and the moment to end are the host's."""

    def __init__(
        self, app: Any, protocol: Any, *, drain: float, on_started: Callable[[], None]
    ) -> None:
        """A server at rest.

        Args:
            app: The ASGI application.
            protocol: Makes the protocol of a connection; called as uvicorn calls its own.
            drain: Seconds that calls in flight may take once the server is to end.
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
            # The host ends what is left after the drain; this is for what does not listen.
            timeout_graceful_shutdown=round(drain) + 2,
            backlog=BACKLOG,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and says so."""
        await super().startup(sockets)
        self._on_started()

    def stop_accepting(self) -> None:
        """Takes no new connections; those that are open stay."""
        for server in getattr(self, "servers", ()):
            server.close()

    def finish(self) -> None:
        """Lets the server end: no new connections, calls in flight go on."""
        self.should_exit = True
