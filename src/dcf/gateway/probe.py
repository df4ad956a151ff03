"""Check whether a gateway answers at its public port."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from dcf.protocol.gateway import HEALTHZ

TIMEOUT = 1.0
"""Timeout of an attempt in seconds."""


async def healthy(url: str) -> bool:
    """Return whether Envoy answers, and the control plane behind it.

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
    context = _without_verification() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        request = f"GET {HEALTHZ} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
        writer.write(request.encode())
        _, _, rest = (await reader.readline()).partition(b" ")
        return rest[:3]
    finally:
        writer.transport.abort()


def _without_verification() -> ssl.SSLContext:
    """Return a context that accepts any certificate.

    The certificate need not name the local address, and the request contains nothing secret.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
