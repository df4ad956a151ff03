"""A caller's deadline in Envoy, for when whoever should keep it stands still.

The watcher enforces a deadline, and the control plane does so for calls that are held. Envoy ends
the call a second later. Only calls with a deadline pay for this: they have a route of their own,
which switches on a few lines of Lua. Envoy can take a duration from one header alone, gRPC's, so
the Lua writes that one and has the route looked up anew.
"""

from __future__ import annotations

from typing import Any

from dcf.protocol import http

FILTER = "deadline"
"""The filter's name; switched off but on the routes of calls with a deadline."""

GRPC_TIMEOUT = "grpc-timeout"
"""gRPC's header for a deadline (grpc/grpc, doc/PROTOCOL-HTTP2.md): at most eight digits, a unit."""

EXTRA_MS = 1000
"""Milliseconds beyond the deadline: the watcher's reply, which says more, comes first."""

DURATION_OVER = "response.code_details == 'max_duration_timeout'"
"""CEL (Envoy's manual: attributes): whether a local reply is due to this."""

_TYPE = "type.googleapis.com/envoy."

_LUA = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local given = string.match(headers:get("{http.DEADLINE_MS}") or "", "^%d+$")
  local left = given and tonumber(given) + {EXTRA_MS}
  if left and left <= 99999999 then
    headers:replace("{GRPC_TIMEOUT}", string.format("%dm", left))
  elseif left and left <= 99999999000 then
    headers:replace("{GRPC_TIMEOUT}", string.format("%dS", math.ceil(left / 1000)))
  else
    headers:remove("{GRPC_TIMEOUT}")
  end
  handle:clearRouteCache()
end
"""


def deadline_filter() -> dict[str, Any]:
    """Return the filter, switched off."""
    lua = {"default_source_code": {"inline_string": _LUA}}
    typed = {"@type": f"{_TYPE}extensions.filters.http.lua.v3.Lua", **lua}
    return {"name": FILTER, "typed_config": typed, "disabled": True}


def with_deadline(route: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the calls' route for those that have a deadline.

    Args:
        route: As of :func:`dcf.dataplane.listener.calls_route`.
    """
    has_deadline = {"name": http.DEADLINE_MS, "present_match": True}
    switch = {"@type": f"{_TYPE}config.route.v3.FilterConfig", "config": {}}
    return {
        **route,
        "match": {**route["match"], "headers": [has_deadline]},
        "route": {
            **route["route"],
            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
        },
        "request_headers_to_remove": [*route["request_headers_to_remove"], GRPC_TIMEOUT],
        "typed_per_filter_config": {FILTER: switch},
    }
