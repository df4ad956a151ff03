"""API keys of callers on other machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What the gateway stores about a key; never the key itself.

    Attributes:
        name: The name that its creator chose.
        digest: Digest of the key. A key is long and random, so a plain digest cannot be reversed.
        kid: The id that the key carries. Together with the gateway's secret it yields the key's
            signing secret.
        created: Seconds since the epoch.
        revoked: Seconds since the epoch; None while the key is valid.
    """

    name: str
    digest: str
    kid: str
    created: float
    revoked: float | None = None
