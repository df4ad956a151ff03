"""Keys of callers."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import Query, read_object
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.replies import as_json
from dcf.controlplane.tokens import Tokens
from dcf.errors import BadRequest, PathUnknown


class KeyRoutes:
    """Handlers of requests about keys."""

    def __init__(self, tokens: Tokens, key_set: KeySet | None, limit: int) -> None:
        """Handlers.

        Args:
            tokens: Makes and revokes keys.
            key_set: Tells Envoy of them; None where no call needs a key.
            limit: Bytes of a body.
        """
        self._tokens = tokens
        self._key_set = key_set
        self._limit = limit

    async def list(self, request: Request) -> Response:
        """Every key there ever was, by its name; none is shown."""
        Query(request, ())
        found = await asyncio.to_thread(self._tokens.keys.all)
        return as_json(
            [{"name": one.name, "created": one.created, "revoked": one.revoked} for one in found]
        )

    async def make(self, request: Request) -> Response:
        """A new key, shown this once, and in force then."""
        Query(request, ())
        name = (await read_object(request, self._limit, ("name",))).get("name")
        if not isinstance(name, str):
            raise BadRequest("name: a name for the key is wanted")
        key = await asyncio.to_thread(self._tokens.issue, name)
        await self._tell()
        return as_json({"name": name, "key": key}, 201)

    async def revoke(self, request: Request) -> Response:
        """Takes a key out of force; it is none any more when the reply is there."""
        Query(request, ())
        name = request.path_params["name"]
        if not await asyncio.to_thread(self._tokens.revoke, name):
            raise PathUnknown(f"there is no key {name[:80]!r} in force")
        await self._tell()
        return Response(status_code=204)

    async def _tell(self) -> None:
        if self._key_set is not None:
            await self._key_set.wait_told()
