"""Ends the calls of revoked keys.

Envoy checks a key only when a call begins. It sends the key's id to the call's replica in a header.
This module sends the list of revoked keys to each ready replica, which ends their calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from dcf.client.fetch import Fetch
from dcf.controlplane.replicas.replica_api import UNREACHABLE, request
from dcf.controlplane.replicas.replica_registry import ReplicaRegistry
from dcf.controlplane.tokens import Tokens
from dcf.errors import StorageError
from dcf.model.replica import ReplicaId, ReplicaState
from dcf.protocol import http

logger = logging.getLogger("dcf.controlplane")

PAUSE = 0.5
"""Seconds between two checks for replicas that have not confirmed the list."""

PATIENCE = 2.0
"""Seconds for a replica to confirm; without a confirmation the list is sent again."""

MOST = 20_000
"""Maximum number of ids to send, the newest ones: a replica accepts 1 MiB."""


class Revocations:
    """Sends the list to every replica until the replica confirms it. On one event loop.

    Confirmations are not stored: a new process sends the list to all replicas again.
    """

    def __init__(self, tokens: Tokens, registry: ReplicaRegistry) -> None:
        """Create this without any confirmation.

        Args:
            tokens: Knows which keys are revoked.
            registry: Knows which replicas are ready.
        """
        self._tokens = tokens
        self._registry = registry
        self._news = asyncio.Event()
        self._count = 0
        self._body = b"[]"
        self._confirmed: dict[ReplicaId, int] = {}
        self._sending: set[ReplicaId] = set()

    def wake(self) -> None:
        """Check at once, because a key was revoked."""
        self._news.set()

    async def run(self) -> None:
        """Send the list to replicas that lack it, until cancelled."""
        self._news.set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                if self._news.is_set():
                    await self._read()
                for name, endpoint in self._behind().items():
                    # One replica that does not answer must not delay the others.
                    self._sending.add(name)
                    tasks.create_task(self._send(name, endpoint))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await self._news.wait()

    async def _read(self) -> None:
        self._news.clear()
        try:
            revoked = await asyncio.to_thread(self._tokens.revoked)
            self._count, self._body = len(revoked), json.dumps(revoked[-MOST:]).encode()
        except StorageError as error:
            logger.warning("the revoked keys could not be read, retrying: %s", error)
            asyncio.get_running_loop().call_later(PAUSE, self._news.set)

    def _behind(self) -> dict[ReplicaId, str]:
        """Return the endpoints of ready replicas that have not confirmed the current list.

        A key stays revoked for good, so the number of revoked keys identifies a list.
        """
        ready = {
            replica.id: replica.endpoint
            for replica in self._registry.all()
            if replica.state is ReplicaState.READY
        }
        self._confirmed = {name: count for name, count in self._confirmed.items() if name in ready}
        return {
            name: endpoint
            for name, endpoint in ready.items()
            if self._confirmed.get(name, 0) != self._count and name not in self._sending
        }

    async def _send(self, name: ReplicaId, endpoint: str) -> None:
        count = self._count
        try:
            if await send(endpoint, self._body):
                self._confirmed[name] = count
            else:
                logger.warning("%s has not confirmed the list of revoked keys, retrying", name)
        finally:
            self._sending.discard(name)


async def send(endpoint: str, body: bytes, patience: float = PATIENCE) -> bool:
    """Send the list to one replica; return whether it confirmed.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        body: The ids of all revoked keys, as JSON.
        patience: Timeout in seconds.
    """
    sent = Fetch(http.REVOKED, "POST", body, http.JSON)
    try:
        status, _ = await request(endpoint, sent, patience)
    except UNREACHABLE:
        return False
    return status == 204  # noqa: PLR2004  HTTP's No Content
