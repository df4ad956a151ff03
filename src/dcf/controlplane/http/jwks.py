"""The set of keys in force, for Envoy alone: on a socket of its own, where no route leads to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from dcf.controlplane.tokens import Tokens

PATH = "/jwks"

PATIENCE = 3.0
"""Seconds to wait for Envoy, which looks once a second; one that is away learns of it later."""

TAKING = 0.05
"""Seconds that Envoy has for making use of what it was told."""


class KeySet:
    """Tells Envoy the keys, and knows when it was told last.

    Attributes:
        app: The ASGI application that Envoy asks.
    """

    def __init__(self, tokens: Tokens, changed: Callable[[], None] = lambda: None) -> None:
        """Has told nothing yet.

        Args:
            tokens: Knows the keys.
            changed: Called after a key was created or revoked.
        """
        self._changed = changed
        self.app = Router([Route(PATH, self._tell)])
        self._tokens = tokens
        self._changes = 0
        self._told = 0
        self._news = asyncio.Condition()

    async def wait_told(self) -> None:
        """Waits until Envoy knows the keys as they are now, but not for an Envoy that is away."""
        self._changes += 1
        self._changed()
        change = self._changes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: self._told >= change)
            await asyncio.sleep(TAKING)

    async def _tell(self, _request: Request) -> Response:
        # What is changed while they are read may be missing in what is told.
        changes = self._changes
        keys = await asyncio.to_thread(self._tokens.jwks)
        async with self._news:
            self._told = changes
            self._news.notify_all()
        return Response(keys, media_type="application/jwk-set+json")
