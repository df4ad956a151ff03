"""Who may call from beyond this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key: never the key itself.

    Attributes:
        name: Given by its maker.
        digest: Of the key. A key is long and random, so a plain digest cannot be turned back.
        kid: Names the key in itself; with the gateway's secret, what it is signed with is found
            again.
        created: Seconds since the epoch.
        revoked: Seconds since the epoch; None while the key is good.
    """

    name: str
    digest: str
    kid: str
    created: float
    revoked: float | None = None
