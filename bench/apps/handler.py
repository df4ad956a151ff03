"""The echo as a function."""

from __future__ import annotations

from dcf import Request


class Handler:
    """Returns its input."""

    def __call__(self, req: Request) -> bytes:
        """Handle a call."""
        return req.input
