"""Handlers of requests about API keys."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import read_object, shown
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.replies import Handlers, as_json
from dcf.controlplane.tokens import Tokens
from dcf.errors import BadRequest, PathUnknown
from dcf.protocol import routes
from dcf.protocol.api_types import Key, KeyWanted, NewKey


class KeyRoutes:
    """Handles requests about API keys: ``handlers`` has the handler of each route."""

    def __init__(self, tokens: Tokens, key_set: KeySet | None, limit: int) -> None:
        self._tokens = tokens
        self._key_set = key_set  # None if calls need no key
        self._limit = limit  # of a body, in bytes
        self.handlers: Handlers = {
            routes.LIST_KEYS: self._list,
            routes.MAKE_KEY: self._create,
            routes.REVOKE_KEY: self._revoke,
        }

    async def _list(self, _request: Request) -> Response:
        keys = await asyncio.to_thread(self._tokens.keys.all)
        return as_json(
            [Key(name=key.name, created=key.created, revoked=key.revoked) for key in keys]
        )

    async def _create(self, request: Request) -> Response:
        """Create a key. Envoy accepts it once the reply is sent."""
        members = await read_object(request, self._limit, KeyWanted.__annotations__)
        name = members.get("name")
        if not isinstance(name, str):
            raise BadRequest(f"name: expected a name for the key, got {shown(name)}")
        key = await asyncio.to_thread(self._tokens.issue, name)
        await self._publish()
        return as_json(NewKey(name=name, key=key), 201)

    async def _revoke(self, request: Request) -> Response:
        """Revoke a key. Envoy rejects it once the reply is sent."""
        name = request.path_params["name"]
        if not await asyncio.to_thread(self._tokens.revoke, name):
            raise PathUnknown(f"no valid key is named {name[:80]!r}")
        await self._publish()
        return Response(status_code=204)

    async def _publish(self) -> None:
        if self._key_set is not None:
            await self._key_set.wait_fetched()
