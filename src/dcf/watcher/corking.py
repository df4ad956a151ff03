"""The head of a reply leaves together with its body: one system call and one packet, not two.

uvicorn writes them one after the other, and uvloop hands each write to the kernel at once. For a
small reply the second passage through the network stack costs as much as all of the watcher's own
work (figures: docs/decisions/0003-http-server.md).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WORTH_JOINING = 64 * 1024
"""Bytes of a body up to which copying it behind its head is cheaper than a second write."""


class CorkedTransport:
    """A transport that holds a reply's head until the write after it, or the loop's next turn."""

    __slots__ = ("_head", "_loop", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._timer: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Writes ``data`` behind what is held, or holds it if it begins a reply."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            head, self._head = self._head, b""
            if len(data) <= WORTH_JOINING:
                self._transport.write(head + data)
                return
            self._transport.write(head)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._timer = self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Closes after what is held."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._transport.write(self._head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on a corked transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins a connection."""
        super().connection_made(CorkedTransport(transport, self.loop))  # type: ignore[arg-type]
