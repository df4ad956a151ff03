"""Ends the calls of revoked keys. The gateway sends the list of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dcf.errors import AccessDenied, BadRequest
from dcf.watcher.call import Call

LARGEST = 1024**2
"""Maximum size of the list in bytes."""


class Revoked:
    """The ids of revoked keys that the gateway has sent."""

    def __init__(self) -> None:
        """Create an empty list."""
        self._ids: frozenset[str] = frozenset()

    def check(self, key: str) -> None:
        """Check that a key is not revoked.

        Raises:
            AccessDenied: If it is.
        """
        if key in self._ids:
            raise AccessDenied("the key was revoked")

    def take(self, body: bytes, calls: Iterable[Call]) -> None:
        """Replace the list of revoked keys, and end the calls of these keys.

        Args:
            body: A JSON array of ids.
            calls: The calls in progress.

        Raises:
            BadRequest: If the body is not such an array.
        """
        try:
            ids = json.loads(body)
        except (ValueError, RecursionError):
            ids = None
        if not isinstance(ids, list) or not all(isinstance(key, str) for key in ids):
            raise BadRequest("expected a JSON array of the ids of revoked keys")
        self._ids = frozenset(ids)
        for call in calls:
            if call.key in self._ids:
                call.end(AccessDenied("the key was revoked during the call"))
