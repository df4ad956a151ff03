"""The management token and the keys: JSON Web Tokens that Envoy verifies by itself.

Each is signed (HS256) with a secret of its own, which is derived from the gateway's secret and the
token's ``kid``, so no signing secret is stored except the gateway's. Envoy gets the secrets of the
valid tokens as a JWKS (RFC 7517). A revoked key is left out there.
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
"""The size of a SHA-256 digest. A longer secret would not be stronger."""


class Role(StrEnum):
    """What a token allows."""

    MANAGER = "manager"
    """Everything."""
    CALLER = "caller"
    """Calls of functions, and reading their status."""


class Tokens:
    """Issues, revokes and verifies tokens."""

    def __init__(self, secret: bytes, keys: ApiKeys) -> None:
        """Derive the tokens of a gateway.

        Args:
            secret: The gateway's secret. With another secret every token is invalid.
            keys: The stored keys.
        """
        self._secret = secret
        self.keys = keys
        self.management = self._token(http.MANAGEMENT)
        """The management token. It depends on the secret alone."""

    def issue(self, name: str) -> str:
        """Create a key. Blocks.

        Args:
            name: Name of the key, by the rule for functions' names.

        Returns:
            The key, which is not stored. Envoy accepts it within a second.

        Raises:
            InvalidName: If the name breaks the rule.
            NameTaken: If a valid key has that name.
            StorageError: If the key could not be written.
        """
        kid = secrets.token_hex(16)
        key = self._token(kid)
        self.keys.add(check_name(name), _digest(key), kid)
        return key

    def revoke(self, name: str) -> bool:
        """Revoke a key, and return whether a valid key had that name. Blocks.

        Envoy rejects it within a second.

        Raises:
            StorageError: If the change could not be written.
        """
        return self.keys.revoke(name)

    def recognise(self, text: str) -> Role | None:
        """Return the role of a token; None if it is unknown or revoked. Blocks.

        The time it takes does not reveal how much of a wrong token was right.

        Raises:
            StorageError: If the keys could not be read.
        """
        if hmac.compare_digest(_digest(text), _digest(self.management)):
            return Role.MANAGER
        return Role.CALLER if self.keys.in_force(_digest(text)) else None

    def revoked(self) -> list[str]:
        """Return the ids of all revoked keys, the oldest key first. Blocks.

        Raises:
            StorageError: If the keys could not be read.
        """
        return [key.kid for key in self.keys.all() if key.revoked is not None]

    def jwks(self) -> bytes:
        """Return the secrets of all valid tokens as a JSON Web Key Set, for Envoy only. Blocks.

        Raises:
            StorageError: If the keys could not be read.
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
    """Return the gateway's secret, and create it if the file is missing.

    Two processes that create it at the same time get the same secret.

    Args:
        path: The file, which only this user may read. Its folder must exist.

    Raises:
        StorageError: If the file cannot be read or written, or has the wrong size.
    """
    with writing(path):
        if not path.exists():
            create_file(path, secrets.token_bytes(SECRET_BYTES))
        secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise StorageError(
            f"{path} is damaged: expected {SECRET_BYTES} bytes, got {len(secret)}. Restore it, or"
            " delete it: then the gateway creates a new one, and every token and key must be"
            " issued again"
        )
    return secret


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
