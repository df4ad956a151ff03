"""Access control. It never depends on where a request says it comes from: headers can be forged."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from dcf.controlplane.tokens import Role, Tokens
from dcf.errors import AccessDenied
from dcf.protocol.routes import AccessLevel


class Authorizer:
    """Accepts or rejects requests."""

    def __init__(self, tokens: Tokens, *, is_open: bool) -> None:
        """Create an authorizer.

        Args:
            tokens: Verifies tokens and keys.
            is_open: Whether calls and lists need no key.
        """
        self._tokens = tokens
        self._is_open = is_open

    async def check(self, request: Request, access: AccessLevel) -> None:
        """Check an HTTP request. Errors as for :meth:`admit`."""
        await self.admit(request.headers.get("authorization", ""), access)

    async def admit(self, authorization: str, access: AccessLevel) -> None:
        """Check the credentials of a request.

        Args:
            authorization: The header, or gRPC's metadata; "" if there is none.
            access: Which credentials the request needs.

        Raises:
            AccessDenied: If the credentials are missing, invalid or not sufficient.
            StorageError: If the keys cannot be read.
        """
        if access is AccessLevel.NOTHING or (self._is_open and access is AccessLevel.KEY):
            return
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise AccessDenied('expected a token in the header "Authorization: Bearer TOKEN"')
        role = await asyncio.to_thread(self._tokens.recognise, token)
        if role is None:
            raise AccessDenied("the token is unknown or was revoked")
        if access is AccessLevel.MANAGEMENT and role is not Role.MANAGER:
            raise AccessDenied("expected the management token, got a key, which is only for calls")
