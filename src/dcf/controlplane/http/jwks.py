"""Serves the valid keys to Envoy, on a socket of their own that no public route reaches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from dcf.controlplane.tokens import Tokens

PATH = "/jwks"

FETCH_TIMEOUT = 3.0
"""Maximum seconds to wait for Envoy, which fetches the keys every second. If Envoy is down, it
fetches them when it is back."""

APPLY = 0.05
"""Seconds that Envoy gets to apply the keys that it fetched."""


class KeySet:
    """Serves the valid keys, and knows which changes Envoy has fetched.

    Attributes:
        app: The ASGI application for Envoy.
    """

    def __init__(self, tokens: Tokens, changed: Callable[[], None] = lambda: None) -> None:
        """Create the application.

        Args:
            tokens: The keys.
            changed: Called after a key was created or revoked.
        """
        self._changed = changed
        self.app = Router([Route(PATH, self._serve)])
        self._tokens = tokens
        self._changes = 0
        self._fetched = 0
        self._news = asyncio.Condition()

    async def wait_fetched(self) -> None:
        """Wait until Envoy has the current keys, or does not fetch them in time."""
        self._changes += 1
        self._changed()
        change = self._changes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FETCH_TIMEOUT), self._news:
                await self._news.wait_for(lambda: self._fetched >= change)
            await asyncio.sleep(APPLY)

    async def _serve(self, _request: Request) -> Response:
        # The keys may change while they are read, so only earlier changes count as fetched.
        changes = self._changes
        keys = await asyncio.to_thread(self._tokens.jwks)
        async with self._news:
            self._fetched = changes
            self._news.notify_all()
        return Response(keys, media_type="application/jwk-set+json")
