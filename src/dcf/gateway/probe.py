"""Whether a gateway answers at its public port."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from dcf.protocol.routes import HEALTH

TIMEOUT = 1.0
"""Seconds for one try."""


async def healthy(url: str) -> bool:
    """Whether Envoy and, behind it, the control plane answer.

    Args:
        url: Scheme, host and port.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _status(url) == b"200"
    except (OSError, TimeoutError):
        return False


async def _status(url: str) -> bytes:
    parts = urlsplit(url)
    context = _lenient() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        request = f"GET {HEALTH.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
        writer.write(request.encode())
        _, _, rest = (await reader.readline()).partition(b" ")
        return rest[:3]
    finally:
        writer.transport.abort()


def _lenient() -> ssl.SSLContext:
    """Nothing secret is sent, and the certificate need not name the address that is tried."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
