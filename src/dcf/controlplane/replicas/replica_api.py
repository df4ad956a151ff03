"""Sends the control plane's requests to a replica's watcher."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from dcf.client.address import of_endpoint
from dcf.client.fetch import Fetch, async_fetch
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid, GatewayUnreachable
from dcf.protocol import http

TIMEOUT = 2.0
"""Timeout of a request in seconds."""

LARGEST = 4096
"""Maximum bytes of a reply's body."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """The calls of a replica.

    Attributes:
        concurrency: Calls that its handler accepts at a time.
        running: Calls in the handler.
        waiting: Calls that wait for the handler, whether they can be handed back or not.
    """

    concurrency: int
    running: int
    waiting: int

    @property
    def calls(self) -> int:
        """The number of all calls."""
        return self.running + self.waiting

    @classmethod
    def read(cls, members: Any) -> Self:
        """Read the watcher's JSON.

        Raises:
            ValueError: If a member is missing or is not a number.
        """
        try:
            numbers = [members[name] for name in ("concurrency", "running", "waiting")]
        except (TypeError, KeyError) as error:
            raise ValueError(f"expected the load of a replica, got {members!r:.100}") from error
        if not all(type(number) is int and 0 <= number < 2**31 for number in numbers):
            raise ValueError(f"expected three numbers, got {numbers!r:.100}")
        return cls(*numbers)


UNREACHABLE = (OSError, AnswerInvalid, GatewayUnreachable)
"""Errors of :func:`request`: a connection that fails or times out, an invalid reply or endpoint."""


async def request(endpoint: str, sent: Fetch, seconds: float) -> tuple[int, bytes]:
    """Send a request to a replica; return the reply's status and body.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        sent: The request.
        seconds: Time limit for the whole exchange.

    Raises:
        OSError, AnswerInvalid, GatewayUnreachable: When the replica does not answer properly.
    """
    return await async_fetch(of_endpoint(endpoint), sent, Timeout(total=seconds))


async def load(endpoint: str, *, hand_back: int = 0) -> ReplicaLoad | None:
    """Return the load of a replica, after it has handed waiting calls back.

    Args:
        endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``.
        hand_back: How many waiting calls it must hand back to the gateway first.

    Returns:
        None if it does not answer, or sends an invalid answer.
    """
    if hand_back:
        sent = Fetch(f"{http.LOAD}?hand-back={hand_back}", "POST", max_body=LARGEST)
    else:
        sent = Fetch(http.LOAD, max_body=LARGEST)
    try:
        status, body = await request(endpoint, sent, TIMEOUT)
        return ReplicaLoad.read(json.loads(body)) if status == 200 else None  # noqa: PLR2004  HTTP's OK
    except (*UNREACHABLE, ValueError, RecursionError):
        return None
