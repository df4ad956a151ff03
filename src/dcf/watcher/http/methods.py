"""Requests that never reach a handler because of their method."""

from __future__ import annotations

from dcf.errors import MethodNotAllowed, PreflightRefused
from dcf.watcher.http.responses import Headers

SPECIAL = frozenset({"CONNECT", "OPTIONS"})
"""The methods that :func:`check` looks at."""

_OF_PREFLIGHT = frozenset({b"origin", b"access-control-request-method"})


def check(method: str, headers: Headers, *, preflight: bool) -> None:
    """Return if a request with one of :data:`SPECIAL` may reach the handler.

    Args:
        method: The request's method.
        headers: The request's, names in lower case.
        preflight: Whether the handler answers preflights itself.

    Raises:
        MethodNotAllowed: When the method is CONNECT.
        PreflightRefused: When the request is a CORS preflight (Fetch standard).
    """
    if method == "CONNECT":
        raise MethodNotAllowed("CONNECT asks for a tunnel, and a function is not a proxy")
    if not preflight and {name for name, _ in headers} >= _OF_PREFLIGHT:
        raise PreflightRefused(
            "pages of other origins may not call this function: set `preflight: true` in"
            " config.yaml to have the handler answer this request, or have the gateway answer it"
            " with its option --cors"
        )
