"""Envoy's admin interface, on a Unix socket."""

from __future__ import annotations

from pathlib import Path

from dcf.client.address import of_endpoint
from dcf.client.fetch import Fetch, fetch
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid, EnvoyFailed


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
    try:
        return fetch(of_endpoint(f"unix:{admin}"), Fetch(path), Timeout(silence=timeout))
    except (OSError, AnswerInvalid) as error:
        raise EnvoyFailed(f"Envoy does not answer at {admin}: {error}") from error
