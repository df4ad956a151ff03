"""A gRPC server on a private Unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcf.errors import AddressInUse


async def start_on(path: Path, server: Any) -> None:
    """Starts a server whose handlers are added; returns once it accepts requests.

    Args:
        path: Of the socket, in a private folder; what a killed server left there is replaced.
        server: One of ``grpc.aio``.

    Raises:
        AddressInUse: When the socket cannot be made.
    """
    try:
        path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name, in memory
        server.add_insecure_port(f"unix:{path}")
    except (OSError, RuntimeError) as error:
        raise AddressInUse(f"cannot listen on {path}: {error}") from error
    await server.start()
    path.chmod(0o600)  # noqa: ASYNC240  likewise
