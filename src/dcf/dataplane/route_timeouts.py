"""Enforces a caller's deadline in Envoy, in case the process that should enforce it hangs.

The watcher enforces a deadline, and the control plane does so for held calls. Envoy ends the call a
second later. Only calls with a deadline pay for this: they have a separate route, which enables a
short Lua filter. Envoy can read a duration only from gRPC's header, so the Lua sets that header and
makes Envoy select the route again.
"""

from __future__ import annotations

from typing import Any

from dcf.protocol import http

FILTER = "deadline"
"""The filter's name. The public and private listeners enable it only on the routes of calls with a
deadline."""

GRPC_TIMEOUT = "grpc-timeout"
"""gRPC's deadline header (grpc/grpc, doc/PROTOCOL-HTTP2.md): up to eight digits and a unit."""

EXTRA_MS = 1000
"""Milliseconds after the deadline, so that the watcher's more detailed reply comes first."""

DURATION_OVER = "response.code_details == 'max_duration_timeout'"
"""CEL expression (Envoy's manual: attributes): whether a local reply is due to this deadline."""

_TYPE = "type.googleapis.com/envoy."

LONGEST_MS = 99_999_000_000
"""Longest deadline in milliseconds that Envoy enforces, some three years: gRPC's header has at most
eight digits. A longer deadline is shortened to it."""


def deadline_filter(extra_ms: int = EXTRA_MS, longest_ms: int = LONGEST_MS) -> dict[str, Any]:
    """Return the filter that sets gRPC's deadline header from the caller's deadline.

    A request without a valid deadline gets no such header, even if its client sent one.

    Args:
        extra_ms: Milliseconds to add to the deadline.
        longest_ms: Longest deadline in milliseconds; a longer one is shortened to it.
    """
    source = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local given = string.match(headers:get("{http.DEADLINE_MS}") or "", "^%d+$")
  if given then
    local left = math.min(tonumber(given), {longest_ms}) + {extra_ms}
    if left <= 99999999 then
      headers:replace("{GRPC_TIMEOUT}", string.format("%.0fm", left))
    else
      headers:replace("{GRPC_TIMEOUT}", string.format("%.0fS", math.ceil(left / 1000)))
    end
  elseif headers:get("{GRPC_TIMEOUT}") then
    headers:remove("{GRPC_TIMEOUT}")
  else
    return
  end
  handle:clearRouteCache()
end
"""
    return {
        "name": FILTER,
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": source},
        },
    }


def with_deadline(route: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the calls' route, for calls that have a deadline.

    Args:
        route: A route from :func:`dcf.dataplane.listener.calls_route`.
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
