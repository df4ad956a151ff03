"""One request on a connection of its own: for health checks, probes and admin interfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dcf.client.address import Address
from dcf.client.async_network import AsyncNetwork
from dcf.client.network import Network
from dcf.client.operation import framing
from dcf.client.pool import HttpConnection
from dcf.client.sync_network import SyncNetwork, run
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request.

    Attributes:
        target: Path and query.
        method: The HTTP method.
        body: The request's body.
        media_type: Type of the body; "" for a request without a body.
        max_body: Maximum bytes of the reply's body.
    """

    target: str
    method: str = "GET"
    body: bytes = b""
    media_type: str = ""
    max_body: float = math.inf


def fetch(address: Address, request: Fetch, timeout: Timeout) -> tuple[int, bytes]:
    """Send a request; return the reply's status and body.

    Raises:
        OSError: When the connection fails, breaks or times out.
        AnswerInvalid: When the reply is not HTTP or its body is too large.
    """
    return run(_fetch(SyncNetwork(), address, request, timeout))


async def async_fetch(address: Address, request: Fetch, timeout: Timeout) -> tuple[int, bytes]:
    """Send a request; return the reply's status and body. Errors as for :func:`fetch`."""
    return await _fetch(AsyncNetwork(), address, request, timeout)


async def async_responds(address: Address, request: Fetch, timeout: Timeout) -> bool:
    """Send a request; return whether any byte of a reply arrives in time."""
    try:
        connection = await HttpConnection.open(AsyncNetwork(), address, timeout)
    except OSError:
        return False
    try:
        await _send(connection, address, request, timeout)
    except (OSError, AnswerInvalid):
        return connection.begun
    finally:
        connection.close()
    return True


async def _fetch(
    network: Network, address: Address, request: Fetch, timeout: Timeout
) -> tuple[int, bytes]:
    connection = await HttpConnection.open(network, address, timeout)
    try:
        status = await _send(connection, address, request, timeout)
        body = bytearray()
        while chunk := await connection.read(timeout):
            body += chunk
            if len(body) > request.max_body:
                raise AnswerInvalid(f"expected at most {request.max_body} bytes, got more")
        return status, bytes(body)
    finally:
        connection.close()


async def _send(
    connection: HttpConnection, address: Address, request: Fetch, timeout: Timeout
) -> int:
    headers: tuple[tuple[str, str], ...] = (("host", address.authority), ("connection", "close"))
    if request.media_type:
        headers += (("content-type", request.media_type), *framing(len(request.body)))
    sent = await connection.request(request.method, request.target, headers, request.body, timeout)
    return sent.status
