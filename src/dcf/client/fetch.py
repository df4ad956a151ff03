"""One request on a connection of its own: for health checks, probes and admin interfaces."""

from __future__ import annotations

import math

from dcf.client.address import Address
from dcf.client.async_network import AsyncNetwork
from dcf.client.network import Network
from dcf.client.pool import HttpConnection
from dcf.client.sync_network import SyncNetwork, run
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid


def fetch(
    address: Address,
    target: str,
    timeout: Timeout,
    *,
    method: str = "GET",
    max_body: float = math.inf,
) -> tuple[int, bytes]:
    """Send a request without a body; return the reply's status and body.

    Args:
        address: Where to connect.
        target: Path and query.
        timeout: The time limits.
        method: The HTTP method.
        max_body: Maximum bytes of the reply's body.

    Raises:
        OSError: When the connection fails, breaks or times out.
        AnswerInvalid: When the reply is not HTTP or has a larger body.
    """
    return run(_fetch(SyncNetwork(), address, method, target, timeout, max_body))


async def async_fetch(
    address: Address,
    target: str,
    timeout: Timeout,
    *,
    method: str = "GET",
    max_body: float = math.inf,
) -> tuple[int, bytes]:
    """Send a request without a body; return the reply's status and body. As :func:`fetch`."""
    return await _fetch(AsyncNetwork(), address, method, target, timeout, max_body)


async def _fetch(
    network: Network,
    address: Address,
    method: str,
    target: str,
    timeout: Timeout,
    max_body: float,
) -> tuple[int, bytes]:
    headers = (("host", address.authority), ("connection", "close"))
    connection = await HttpConnection.open(network, address, timeout)
    try:
        head = await connection.request(method, target, headers, b"", timeout)
        body = bytearray()
        while chunk := await connection.read(timeout):
            body += chunk
            if len(body) > max_body:
                raise AnswerInvalid(f"expected at most {max_body} bytes, got more")
        return head.status, bytes(body)
    finally:
        connection.close()
