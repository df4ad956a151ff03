"""A client of Envoy's administration interface, on a Unix socket."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from dcf.errors import EnvoyFailed


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("envoy", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(admin: Path, path: str, timeout: float) -> tuple[int, bytes]:
    """Send a GET request to Envoy.

    Args:
        admin: Path of its administration socket.
        path: Path and query.
        timeout: Maximum seconds without any data.

    Returns:
        Status and body.

    Raises:
        EnvoyFailed: If Envoy does not answer.
    """
    connection = _Connection(admin, timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise EnvoyFailed(f"Envoy does not answer at {admin}: {error}") from error
    finally:
        connection.close()
