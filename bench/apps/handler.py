"""The echo as a function."""

from __future__ import annotations

from dcf import Request


class Handler:
    """Sends back what comes."""

    def __call__(self, req: Request) -> bytes:
        """One call."""
        return req.input
