"""Which web pages may call from a browser (CORS, in the Fetch standard)."""

from __future__ import annotations

from typing import Any

_FILTER = "cors"
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.cors.v3"

MAX_AGE = 600
"""Seconds that a browser keeps the answer to its question beforehand."""


def cors_filter() -> dict[str, Any]:
    """The filter; it does what a route's policy says."""
    return {"name": _FILTER, "typed_config": {"@type": f"{_TYPE}.Cors"}}


def cors_policies(origins: str) -> dict[str, Any]:
    """What a virtual host says of it.

    Args:
        origins: With commas between them; ``*`` is all, "" none.
    """
    allowed = [{"exact": origin} for origin in map(str.strip, origins.split(",")) if origin]
    if not allowed:
        return {}
    policy = {
        "@type": f"{_TYPE}.CorsPolicy",
        "allow_origin_string_match": allowed,
        "allow_methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        # The asterisk stands for all headers but this one.
        "allow_headers": "authorization, *",
        "expose_headers": "*",
        "max_age": str(MAX_AGE),
    }
    return {"typed_per_filter_config": {_FILTER: policy}}
