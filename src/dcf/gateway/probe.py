"""Check whether a gateway answers at its public port."""

from __future__ import annotations

from dataclasses import replace

from dcf.client.address import parse
from dcf.client.fetch import Fetch, async_fetch
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid
from dcf.protocol.routes import HEALTH

TIMEOUT = 1.0
"""Seconds for one request."""


async def healthy(url: str) -> bool:
    """Return whether Envoy and, behind it, the control plane answer.

    Args:
        url: Scheme, host and port.
    """
    # The request carries no secret, and the certificate need not name the address that is tried.
    address = replace(parse(url), verify=False)
    try:
        status, _ = await async_fetch(address, Fetch(HEALTH.path), Timeout(total=TIMEOUT))
    except (OSError, AnswerInvalid):
        return False
    return status == 200  # noqa: PLR2004  HTTP's OK
