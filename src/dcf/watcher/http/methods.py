"""Rejects requests that never reach a handler because of their method."""

from __future__ import annotations

from dcf.errors import MethodNotAllowed, PreflightRefused
from dcf.watcher.http.responses import Headers

SPECIAL = frozenset({"CONNECT", "OPTIONS"})
"""The methods that :func:`check` checks."""

_OF_PREFLIGHT = frozenset({b"origin", b"access-control-request-method"})


def check(method: str, headers: Headers, *, preflight: bool) -> None:
    """Check that a request with one of :data:`SPECIAL` may reach the handler.

    Args:
        method: The request's method.
        headers: The request's, names in lower case.
        preflight: Whether the handler answers preflights itself.

    Raises:
        MethodNotAllowed: If the method is CONNECT.
        PreflightRefused: If the request is a CORS preflight (Fetch standard).
    """
    if method == "CONNECT":
        raise MethodNotAllowed("expected a method other than CONNECT: a function is not a proxy")
    if not preflight and {name for name, _ in headers} >= _OF_PREFLIGHT:
        raise PreflightRefused(
            "pages of other origins may not call this function: set `preflight: true` in"
            " config.yaml if the handler answers preflights, or start the gateway with the option"
            " --cors"
        )
