"""Who may do what. Where a request comes from is never asked: headers can tell anything."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from starlette.requests import Request

from dcf.controlplane.tokens import Role, Tokens
from dcf.errors import AccessDenied
from dcf.protocol import gateway, http


class AccessLevel(StrEnum):
    """What a request must bring."""

    NOTHING = "nothing"
    """Nothing, wherever the gateway listens."""
    KEY = "key"
    """A key or the management token, unless the gateway is open."""
    MANAGEMENT = "management"
    """The management token."""


RULES: dict[tuple[str, str], AccessLevel] = {
    ("GET", gateway.HEALTHZ): AccessLevel.NOTHING,
    ("GET", gateway.METRICS): AccessLevel.KEY,
    ("GET", gateway.OPENAPI): AccessLevel.KEY,
    ("GET", gateway.INFO): AccessLevel.KEY,
    ("GET", gateway.FUNCTIONS): AccessLevel.KEY,
    ("POST", gateway.FUNCTIONS): AccessLevel.MANAGEMENT,
    ("PUT", gateway.FUNCTIONS): AccessLevel.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}"): AccessLevel.KEY,
    ("DELETE", gateway.FUNCTION + "{name}"): AccessLevel.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}" + gateway.REVISIONS): AccessLevel.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}" + gateway.EVENTS): AccessLevel.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.ROLLBACK): AccessLevel.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.PROMOTE): AccessLevel.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.ABORT): AccessLevel.MANAGEMENT,
    ("GET", gateway.LOG + "{name}"): AccessLevel.MANAGEMENT,
    ("PUT", gateway.SCALE): AccessLevel.MANAGEMENT,
    ("POST", gateway.UPLOADS): AccessLevel.MANAGEMENT,
    ("PUT", gateway.BLOBS + "{digest}"): AccessLevel.MANAGEMENT,
    ("GET", gateway.KEYS): AccessLevel.MANAGEMENT,
    ("POST", gateway.KEYS): AccessLevel.MANAGEMENT,
    ("DELETE", gateway.KEYS + "/{name}"): AccessLevel.MANAGEMENT,
    # Calls come here of functions that there are not. Envoy has looked at their keys, and has kept
    # them to itself.
    **{
        (method, path): AccessLevel.NOTHING
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        for path in (http.FUNCTION_PREFIX + "{name}", http.FUNCTION_PREFIX + "{name}/{path:path}")
    },
}
"""Every method and path that there is. HEAD goes with GET."""


class Authorizer:
    """Lets requests in, or not."""

    def __init__(self, tokens: Tokens, *, is_open: bool) -> None:
        """A door.

        Args:
            tokens: Knows the tokens and keys.
            is_open: Whether calls and lists need none.
        """
        self._tokens = tokens
        self._is_open = is_open

    async def check(self, request: Request, access: AccessLevel) -> None:
        """Returns if the request may come in. Errors as for :meth:`admit`."""
        await self.admit(request.headers.get("authorization", ""), access)

    async def admit(self, authorization: str, access: AccessLevel) -> None:
        """Returns if whoever says this may come in.

        Args:
            authorization: The header, or gRPC's metadata; "" when there is none.
            access: What is wanted.

        Raises:
            AccessDenied: If not.
            StorageError: When the keys cannot be read.
        """
        if access is AccessLevel.NOTHING or (self._is_open and access is AccessLevel.KEY):
            return
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AccessDenied("a token is wanted here: Authorization: Bearer TOKEN")
        role = await asyncio.to_thread(self._tokens.recognise, token)
        if role is None:
            raise AccessDenied("the token is unknown or was revoked")
        if access is AccessLevel.MANAGEMENT and role is not Role.MANAGER:
            raise AccessDenied("a key may call functions; here the management token is wanted")
