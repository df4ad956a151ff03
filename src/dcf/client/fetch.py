"""One request on a connection of its own: for health checks, probes and admin interfaces."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from dcf.client.address import Address
from dcf.client.async_network import AsyncNetwork
from dcf.client.http11 import Http11Protocol
from dcf.client.network import CONNECT_TIMEOUT, Network
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
    """Send a request; return whether any byte of a reply arrives in time.

    The reply is not parsed: a gateway sends such requests to all its replicas all the time.
    """
    try:
        stream = await AsyncNetwork().connect(address, timeout.left() or CONNECT_TIMEOUT)
    except OSError:
        return False
    try:
        await stream.send(_encoded(address.authority, request), timeout)
        return bool(await stream.receive(timeout))
    except OSError:
        return False
    finally:
        stream.close()


@functools.lru_cache(maxsize=64)
def _encoded(authority: str, request: Fetch) -> bytes:
    http = Http11Protocol()
    head = http.head(request.method, request.target, _headers(authority, request))
    return head + (http.data(request.body) if request.body else b"") + http.end()


async def _fetch(
    network: Network, address: Address, request: Fetch, timeout: Timeout
) -> tuple[int, bytes]:
    connection = await HttpConnection.open(network, address, timeout)
    headers = _headers(address.authority, request)
    try:
        head = await connection.request(
            request.method, request.target, headers, request.body, timeout
        )
        body = bytearray()
        while chunk := await connection.read(timeout):
            body += chunk
            if len(body) > request.max_body:
                raise AnswerInvalid(f"expected at most {request.max_body} bytes, got more")
        return head.status, bytes(body)
    finally:
        connection.close()


def _headers(authority: str, request: Fetch) -> tuple[tuple[str, str], ...]:
    headers = (("host", authority), ("connection", "close"))
    if not request.media_type:
        return headers
    return (*headers, ("content-type", request.media_type), *framing(len(request.body)))
