"""Starts a gRPC server on a private Unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcf.errors import AddressInUse


async def start_on(path: Path, server: Any) -> None:
    """Start a server, and return once it accepts requests.

    Args:
        path: The socket, in a private folder. A leftover socket is replaced.
        server: A server of ``grpc.aio`` that has its handlers.

    Raises:
        AddressInUse: If the socket cannot be created.
    """
    try:
        path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name, in memory
        server.add_insecure_port(f"unix:{path}")
    except (OSError, RuntimeError) as error:
        raise AddressInUse(f"cannot listen on {path}: {error}") from error
    await server.start()
    path.chmod(0o600)  # noqa: ASYNC240  a socket's name, in memory
