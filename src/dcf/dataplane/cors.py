"""Which web pages may call from a browser (CORS, in the Fetch standard), and open WebSockets."""

from __future__ import annotations

import json
from typing import Any

_FILTER = "cors"
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.cors.v3"

NOBODY = "Nobody"
"""No cluster at all; what is sent there is refused."""

MAX_AGE = 600
"""Seconds that a browser keeps the answer to its question beforehand."""


def cors_filter() -> dict[str, Any]:
    """The filter; it does what a route's policy says."""
    return {"name": _FILTER, "typed_config": {"@type": f"{_TYPE}.Cors"}}


def allowed_origins(origins: str) -> list[str]:
    """One by one, what is given with commas between."""
    return [origin for origin in map(str.strip, origins.split(",")) if origin]


def cors_policies(origins: str) -> dict[str, Any]:
    """What a virtual host says of it.

    Args:
        origins: With commas between them; ``*`` is all, "" none.
    """
    allowed = [{"exact": origin} for origin in allowed_origins(origins)]
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


def foreign_page(origins: str, route: str) -> str:
    """Lua that keeps a WebSocket of a page of elsewhere from its function.

    A browser lets every page open one and read what comes, without asking beforehand as it does for
    calls. A page of this gateway's own, as a function may give, is no stranger.

    Args:
        origins: As for :func:`cors_policies`.
        route: Lua of a function ``envoy_on_route`` for all others.
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
