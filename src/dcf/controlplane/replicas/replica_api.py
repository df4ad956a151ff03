"""Sends the control plane's requests to a replica's watcher."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from dcf.model.endpoint import Endpoint
from dcf.protocol import http

TIMEOUT = 2.0
"""Timeout of a request in seconds."""

LARGEST = 4096
"""Maximum bytes of a reply that are read."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """The calls of a replica.

    Attributes:
        concurrency: Calls that its handler accepts at a time.
        running: Calls in the handler.
        waiting: Calls that wait for the handler, whether they can be handed back or not.
    """

    concurrency: int
    running: int
    waiting: int

    @property
    def calls(self) -> int:
        """The number of all calls."""
        return self.running + self.waiting

    @classmethod
    def read(cls, members: Any) -> Self:
        """Read the watcher's JSON.

        Raises:
            ValueError: If a member is missing or is not a number.
        """
        try:
            numbers = [members[name] for name in ("concurrency", "running", "waiting")]
        except (TypeError, KeyError) as error:
            raise ValueError(f"expected the load of a replica, got {members!r:.100}") from error
        if not all(type(number) is int and 0 <= number < 2**31 for number in numbers):
            raise ValueError(f"expected three numbers, got {numbers!r:.100}")
        return cls(*numbers)


UNREACHABLE = (OSError, ValueError, OverflowError)
"""Errors of :func:`connected` and of reading: a timeout, an endless line, an invalid port."""


@asynccontextmanager
async def connected(
    endpoint: str, seconds: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a replica. The connection is aborted at the end of the block.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        seconds: Time limit for the whole block.

    Raises:
        OSError: If the replica does not respond in time, or not at all.
        ValueError, OverflowError: If the endpoint is invalid.
    """
    async with asyncio.timeout(seconds):
        address = Endpoint.parse(endpoint)
        if address.is_unix:
            reader, writer = await asyncio.open_unix_connection(address.path)
        else:
            reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def load(endpoint: str, *, hand_back: int = 0) -> ReplicaLoad | None:
    """Return the load of a replica, after it has handed waiting calls back.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        hand_back: How many waiting calls it must hand back to the gateway first.

    Returns:
        None if it does not answer, or sends an invalid answer.
    """
    line = f"POST {http.LOAD}?hand-back={hand_back}" if hand_back else f"GET {http.LOAD}"
    head = f"{line} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n"
    try:
        async with connected(endpoint, TIMEOUT) as (reader, writer):
            writer.write(head.encode())
            reply = await reader.read(LARGEST)
            while not reply.endswith(b"}") and (more := await reader.read(LARGEST)):
                reply += more
                if len(reply) > LARGEST:
                    return None
        status, _, body = reply.partition(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 200 "):
            return None
        return ReplicaLoad.read(json.loads(body))
    except (*UNREACHABLE, RecursionError):
        return None
