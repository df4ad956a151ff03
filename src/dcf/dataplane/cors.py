"""Which web pages may call functions from a browser (CORS, Fetch standard), or open WebSockets."""

from __future__ import annotations

import json
from typing import Any

_FILTER = "cors"
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.cors.v3"

NOBODY = "Nobody"
"""Name of a cluster that does not exist, so that Envoy rejects a call routed to it."""

MAX_AGE = 600
"""Seconds that a browser may cache the reply to a preflight."""


def cors_filter() -> dict[str, Any]:
    """Return the filter, which applies the policy of a route."""
    return {"name": _FILTER, "typed_config": {"@type": f"{_TYPE}.Cors"}}


def allowed_origins(origins: str) -> list[str]:
    """Split a comma-separated list of origins."""
    return [origin for origin in map(str.strip, origins.split(",")) if origin]


def cors_policies(origins: str) -> dict[str, Any]:
    """Return the members of a virtual host with the CORS policy.

    Args:
        origins: Allowed origins, separated by commas; ``*`` allows all, "" none.
    """
    allowed = [{"exact": origin} for origin in allowed_origins(origins)]
    if not allowed:
        return {}
    policy = {
        "@type": f"{_TYPE}.CorsPolicy",
        "allow_origin_string_match": allowed,
        "allow_methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        # The asterisk stands for all headers except this one (Fetch standard).
        "allow_headers": "authorization, *",
        "expose_headers": "*",
        "max_age": str(MAX_AGE),
    }
    return {"typed_per_filter_config": {_FILTER: policy}}


def foreign_page(origins: str, route: str) -> str:
    """Return Lua that rejects WebSockets from pages of other sites.

    A browser lets every page open a WebSocket and read its messages, without a preflight. Pages
    that this gateway serves itself, from a function, are allowed.

    Args:
        origins: Allowed origins, as for :func:`cors_policies`.
        route: Lua with a function ``envoy_on_route`` for all other calls.
    """
    allowed = "".join(f"[{json.dumps(origin)}] = true, " for origin in allowed_origins(origins))
    return f"""
local allowed = {{{allowed}}}
{route}
local route = envoy_on_route
function envoy_on_route(handle)
  local headers = handle:headers()
  local origin = headers:get("origin")
  local host = string.match(origin, "^https?://(.+)$")
  if allowed[origin] or host == headers:get(":authority") then
    return route(handle)
  end
  return "{NOBODY}"
end
"""
