"""Ends the calls of revoked keys.

Envoy checks a key when a call begins, and never again. It tells the key's id to the call's replica,
in a header. Here each ready replica is told which keys are revoked, and ends their calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from dcf.errors import StorageError
from dcf.gateway.fleet import Fleet
from dcf.gateway.tokens import Tokens
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.protocol import http

logger = logging.getLogger("dcf.gateway")

PAUSE = 0.5
"""Seconds between two looks for replicas that have not been told."""

PATIENCE = 2.0
"""Seconds that a replica has for its answer; without one it is told again."""

MOST = 20_000
"""Ids that are told, the newest: a replica takes 1 MiB."""


class Revocations:
    """Tells every replica, and each again until it has confirmed. On one event loop.

    What was confirmed is not kept beyond this process: a new one tells all replicas.
    """

    def __init__(self, tokens: Tokens, fleet: Fleet) -> None:
        """Has told nobody yet.

        Args:
            tokens: Knows which keys are revoked.
            fleet: Knows which replicas are ready.
        """
        self._tokens = tokens
        self._fleet = fleet
        self._news = asyncio.Event()
        self._count = 0
        self._body = b"[]"
        self._told: dict[ReplicaId, int] = {}
        self._telling: set[ReplicaId] = set()

    def wake(self) -> None:
        """Look at once: a key was revoked."""
        self._news.set()

    async def run(self) -> None:
        """Tell whoever has to be told until this is cancelled."""
        self._news.set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                if self._news.is_set():
                    await self._read()
                for name, endpoint in self._behind().items():
                    # One replica that does not answer must not delay the others.
                    self._telling.add(name)
                    tasks.create_task(self._tell(name, endpoint))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await self._news.wait()

    async def _read(self) -> None:
        self._news.clear()
        try:
            revoked = await asyncio.to_thread(self._tokens.revoked)
            self._count, self._body = len(revoked), json.dumps(revoked[-MOST:]).encode()
        except StorageError as error:
            logger.warning("cannot read which keys are revoked, trying again: %s", error)
            asyncio.get_running_loop().call_later(PAUSE, self._news.set)

    def _behind(self) -> dict[ReplicaId, str]:
        """Return the endpoints of ready replicas that have confirmed less than is known.

        A revoked key is never in force again, so the number of them names a state.
        """
        ready = {
            one.id: one.endpoint for one in self._fleet.all() if one.state is ReplicaState.READY
        }
        self._told = {name: count for name, count in self._told.items() if name in ready}
        return {
            name: endpoint
            for name, endpoint in ready.items()
            if self._told.get(name, 0) != self._count and name not in self._telling
        }

    async def _tell(self, name: ReplicaId, endpoint: str) -> None:
        count = self._count
        try:
            if await tell(endpoint, self._body):
                self._told[name] = count
            else:
                logger.warning("%s has not confirmed which keys are revoked", name)
        finally:
            self._telling.discard(name)


async def tell(endpoint: str, body: bytes, patience: float = PATIENCE) -> bool:
    """Tell one replica; return whether it has confirmed.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        body: The ids of all revoked keys, as JSON.
        patience: Seconds for the answer.
    """
    head = (
        f"POST {http.REVOKED} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n"
        f"Content-Type: {http.JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    kind, _, rest = endpoint.partition(":")
    try:
        async with asyncio.timeout(patience):
            if kind == "unix":
                reader, writer = await asyncio.open_unix_connection(rest)
            else:
                host, _, port = rest.rpartition(":")
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(head.encode() + body)
                return (await reader.readline()).startswith(b"HTTP/1.1 204 ")
            finally:
                writer.transport.abort()
    except (OSError, ValueError):  # a line without end included
        return False
