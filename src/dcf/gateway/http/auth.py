"""Who may do what. Where a request comes from is never asked: headers can tell anything."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from starlette.requests import Request

from dcf.errors import AccessDenied
from dcf.gateway.tokens import Role, Tokens
from dcf.protocol import gateway, http


class Access(StrEnum):
    """What a request must bring."""

    NOTHING = "nothing"
    """Nothing, wherever the gateway listens."""
    KEY = "key"
    """A key or the management token, unless the gateway is open."""
    MANAGEMENT = "management"
    """The management token."""


RULES: dict[tuple[str, str], Access] = {
    ("GET", gateway.HEALTHZ): Access.NOTHING,
    ("GET", gateway.METRICS): Access.KEY,
    ("GET", gateway.OPENAPI): Access.KEY,
    ("GET", gateway.INFO): Access.KEY,
    ("GET", gateway.FUNCTIONS): Access.KEY,
    ("POST", gateway.FUNCTIONS): Access.MANAGEMENT,
    ("PUT", gateway.FUNCTIONS): Access.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}"): Access.KEY,
    ("DELETE", gateway.FUNCTION + "{name}"): Access.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}" + gateway.REVISIONS): Access.MANAGEMENT,
    ("GET", gateway.FUNCTION + "{name}" + gateway.EVENTS): Access.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.ROLLBACK): Access.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.PROMOTE): Access.MANAGEMENT,
    ("POST", gateway.FUNCTION + "{name}" + gateway.ABORT): Access.MANAGEMENT,
    ("GET", gateway.LOG + "{name}"): Access.MANAGEMENT,
    ("PUT", gateway.SCALE): Access.MANAGEMENT,
    ("POST", gateway.UPLOADS): Access.MANAGEMENT,
    ("PUT", gateway.BLOBS + "{digest}"): Access.MANAGEMENT,
    ("GET", gateway.KEYS): Access.MANAGEMENT,
    ("POST", gateway.KEYS): Access.MANAGEMENT,
    ("DELETE", gateway.KEYS + "/{name}"): Access.MANAGEMENT,
    # Calls come here of functions that there are not. Envoy has looked at their keys, and has kept
    # them to itself.
    **{
        (method, path): Access.NOTHING
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        for path in (http.FUNCTION_PREFIX + "{name}", http.FUNCTION_PREFIX + "{name}/{path:path}")
    },
}
"""Every method and path that there is. HEAD goes with GET."""


class Door:
    """Lets requests in, or not."""

    def __init__(self, tokens: Tokens, *, is_open: bool) -> None:
        """A door.

        Args:
            tokens: Knows the tokens and keys.
            is_open: Whether calls and lists need none.
        """
        self._tokens = tokens
        self._is_open = is_open

    async def check(self, request: Request, access: Access) -> None:
        """Returns if the request may come in. Errors as for :meth:`admit`."""
        await self.admit(request.headers.get("authorization", ""), access)

    async def admit(self, authorization: str, access: Access) -> None:
        """Returns if whoever says this may come in.

        Args:
            authorization: The header, or gRPC's metadata; "" when there is none.
            access: What is wanted.

        Raises:
            AccessDenied: If not.
            StorageError: When the keys cannot be read.
        """
        if access is Access.NOTHING or (self._is_open and access is Access.KEY):
            return
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AccessDenied("a token is wanted here: Authorization: Bearer TOKEN")
        role = await asyncio.to_thread(self._tokens.recognise, token)
        if role is None:
            raise AccessDenied("the token is unknown or was revoked")
        if access is Access.MANAGEMENT and role is not Role.MANAGER:
            raise AccessDenied("a key may call functions; here the management token is wanted")
