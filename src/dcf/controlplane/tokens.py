"""The management token and the keys: JSON Web Tokens that Envoy can check without asking.

Each is signed (HS256) with a secret of its own, which is derived from the gateway's secret and the
token's ``kid``, so nothing that signs is kept beside the gateway's secret. Envoy is given the
secrets of the tokens in force as a JWKS (RFC 7517); to revoke a key is to leave it out there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from enum import StrEnum
from pathlib import Path

from dcf.catalog.api_keys import ApiKeys
from dcf.errors import StorageError
from dcf.files.atomic import create_file
from dcf.files.storage import writing
from dcf.model.names import check_name
from dcf.protocol import http

SECRET_BYTES = 32
"""As long as what SHA-256 gives: longer adds nothing."""


class Role(StrEnum):
    """What a token is good for."""

    MANAGER = "manager"
    """Everything."""
    CALLER = "caller"
    """To call functions and to look at them."""


class Tokens:
    """Makes tokens and tells them from others."""

    def __init__(self, secret: bytes, keys: ApiKeys) -> None:
        """The tokens of a gateway.

        Args:
            secret: The gateway's; another one makes every token worthless.
            keys: Where keys are kept.
        """
        self._secret = secret
        self.keys = keys
        self.management = self._token(http.MANAGEMENT)
        """The management token: the same for the same secret."""

    def issue(self, name: str) -> str:
        """Makes a key. Blocks.

        Args:
            name: What it is called, by the rule for functions.

        Returns:
            The key, which is told this once. Envoy takes it after a second at most.

        Raises:
            InvalidName: When the name breaks the rule.
            NameTaken: When a key of that name is in force.
            StorageError: When it could not be written.
        """
        kid = secrets.token_hex(16)
        key = self._token(kid)
        self.keys.add(check_name(name), _digest(key), kid)
        return key

    def revoke(self, name: str) -> bool:
        """Takes a key out of force; tells whether there was one. Blocks.

        Envoy knows after a second at most.

        Raises:
            StorageError: When it could not be written.
        """
        return self.keys.revoke(name)

    def recognise(self, text: str) -> Role | None:
        """What a token is good for; None when it is none, or no longer in force. Blocks.

        How long it takes tells nothing of how much of a token was right.

        Raises:
            StorageError: When the keys could not be read.
        """
        if hmac.compare_digest(_digest(text), _digest(self.management)):
            return Role.MANAGER
        return Role.CALLER if self.keys.in_force(_digest(text)) else None

    def revoked(self) -> list[str]:
        """Return the ids of all revoked keys, the oldest key first. Blocks.

        Raises:
            StorageError: When the keys could not be read.
        """
        return [key.kid for key in self.keys.all() if key.revoked is not None]

    def jwks(self) -> bytes:
        """The secrets of all tokens in force, as a JSON Web Key Set: for Envoy alone. Blocks.

        Raises:
            StorageError: When the keys could not be read.
        """
        kids = [http.MANAGEMENT, *(key.kid for key in self.keys.all() if key.revoked is None)]
        members = [
            {"kty": "oct", "alg": "HS256", "kid": kid, "k": _base64(self._signing(kid))}
            for kid in kids
        ]
        return json.dumps({"keys": members}).encode()

    def _signing(self, kid: str) -> bytes:
        return hmac.digest(self._secret, kid.encode(), "sha256")

    def _token(self, kid: str) -> str:
        header = _base64(json.dumps({"alg": "HS256", "kid": kid}).encode())
        signed = f"{header}.{_base64(b'{}')}"
        return f"{signed}.{_base64(hmac.digest(self._signing(kid), signed.encode(), 'sha256'))}"


def load_secret(path: Path) -> bytes:
    """Reads the gateway's secret, which is made if there is none. Of two that make it at once, both
    get the same.

    Args:
        path: The file, readable by this user alone, in a folder that exists.

    Raises:
        StorageError: When it cannot be read or written, or is not whole.
    """
    with writing(path):
        if not path.exists():
            create_file(path, secrets.token_bytes(SECRET_BYTES))
        secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise StorageError(
            f"{path} has {len(secret)} bytes, not {SECRET_BYTES}: it is damaged. Without it a new"
            " one is made, and every token and key has to be given out anew"
        )
    return secret


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
