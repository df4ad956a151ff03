"""API keys, which Envoy checks itself.

A key is a JWT, signed with its own secret. Envoy fetches the set of secrets (a JWKS) from the
control plane every second and keeps the last one, so calls need no control plane. Before Envoy has
the first set, it rejects all calls.
"""

from __future__ import annotations

from typing import Any

from dcf.protocol import http, routes

KEYS = "Keys"
"""The cluster of the control plane's set of keys. No function's name contains a capital letter."""

REFETCH = 1
"""Seconds between two fetches of the set, during which a revoked key may still be accepted. Envoy
requires a whole number."""

_PROVIDER = "gateway"
_HEADER = "key"

KEY_ID = f"%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:{_HEADER}:kid)%"
"""Envoy format string for the id of the caller's key; empty without a key."""


def key_filter() -> dict[str, Any]:
    """Return the filter that rejects requests without a key, except the health check."""
    provider = {
        # By default, Envoy also accepts keys in the query, which would end up in logs.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": True,  # the control plane checks it again
        "header_in_metadata": _HEADER,
        "remote_jwks": {
            "http_uri": {"uri": "http://keys/jwks", "cluster": KEYS, "timeout": "1s"},
            "cache_duration": f"{REFETCH}s",
            "async_fetch": {"failed_refetch_duration": "0.2s"},
        },
    }
    return {
        "name": "keys",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3"
            ".JwtAuthentication",
            "providers": {_PROVIDER: provider},
            "rules": [
                {"match": {"path": routes.HEALTH.path}},
                {"match": {"prefix": "/"}, "requires": {"provider_name": _PROVIDER}},
            ],
        },
    }


def key_header() -> dict[str, Any]:
    """Return the header :data:`dcf.protocol.http.KEY`, which carries the id of the caller's key.

    Envoy checks a key only when a call begins. The replica ends the call when its key is revoked.
    """
    return {
        "header": {"key": http.KEY, "value": KEY_ID},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
