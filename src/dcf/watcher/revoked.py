"""Which keys are revoked: a gateway tells it, and the calls of such keys end."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dcf.errors import AccessDenied, BadRequest
from dcf.watcher.call import Call

LARGEST = 1024**2
"""Bytes of the list."""


class Revoked:
    """The ids of revoked keys, as far as they are known here."""

    def __init__(self) -> None:
        """None is known."""
        self._ids: frozenset[str] = frozenset()

    def check(self, key: str) -> None:
        """Return if a key is not known to be revoked.

        Raises:
            AccessDenied: If it is.
        """
        if key in self._ids:
            raise AccessDenied("the key was revoked")

    def take(self, body: bytes, calls: Iterable[Call]) -> None:
        """Take the list of all revoked keys, and end their calls.

        Args:
            body: A JSON array of ids.
            calls: Those under way.

        Raises:
            BadRequest: If it is something else.
        """
        try:
            ids = json.loads(body)
        except (ValueError, RecursionError):
            ids = None
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise BadRequest("expected a JSON array of the ids of revoked keys")
        self._ids = frozenset(ids)
        for call in calls:
            if call.key in self._ids:
                call.end(AccessDenied("the key was revoked during the call"))
