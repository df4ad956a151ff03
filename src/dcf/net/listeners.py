"""Open listening sockets."""

from __future__ import annotations

import socket
from pathlib import Path

from dcf.errors import AddressInUse
from dcf.model.endpoint import Endpoint

BACKLOG = 100
"""Connections that may wait to be accepted: asyncio's default."""


def listen(endpoint: Endpoint, backlog: int) -> socket.socket:
    """Listen on an endpoint.

    Args:
        endpoint: A Unix socket, whose path must be free, or a TCP address.
        backlog: Connections that may wait to be accepted.

    Raises:
        AddressInUse: If the socket cannot be opened.
    """
    if endpoint.is_unix:
        return listen_unix(Path(endpoint.path), backlog, replace=False)
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    try:
        return socket.create_server((endpoint.host, endpoint.port), family=family, backlog=backlog)
    except (OSError, ValueError, OverflowError) as error:
        raise AddressInUse(f"cannot listen on {endpoint}: {error}") from error


def listen_unix(path: Path, backlog: int = BACKLOG, *, replace: bool = True) -> socket.socket:
    """Listen on a Unix socket that only this user can connect to.

    Args:
        path: Path of the socket, in a folder of this user.
        backlog: Connections that may wait to be accepted.
        replace: Whether to replace an existing file, such as the socket of a killed process.

    Raises:
        AddressInUse: If the socket cannot be opened.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if replace:
            path.unlink(missing_ok=True)
        listener.bind(str(path))
        # Before listen(2): until then, every attempt to connect is refused.
        path.chmod(0o600)
        listener.listen(backlog)
    except (OSError, ValueError) as error:
        listener.close()
        raise AddressInUse(f"cannot listen on {path}: {error}") from error
    return listener


def endpoint_of(listener: socket.socket) -> Endpoint:
    """Return the endpoint to connect to."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return Endpoint(path=name)
    return Endpoint(host=name[0], port=name[1])
