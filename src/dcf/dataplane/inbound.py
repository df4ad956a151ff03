"""What Envoy does with a request before anything else looks at it.

It removes the headers that only a gateway's parts may set, rejects a path that a proxy in front
could read differently, and rejects a ``Host`` that is not allowed. Why so:
docs/decisions/0033-inbound.md.
"""

from __future__ import annotations

from typing import Any

from dcf import errors
from dcf.dataplane import grpc
from dcf.dataplane.replies import AMBIGUOUS_PATH
from dcf.protocol import hosts, http
from dcf.protocol.status import status_of
from dcf.settings import DataplaneSettings

_TYPE = "type.googleapis.com/envoy."

_TRACE_ID = "x-client-trace-id"
"""Envoy makes decisions about tracing from it, as from its own headers."""

_AMBIGUOUS = r".*(\\.*|%00.*|/(\.|%2[Ee]){1,2}(/.*)?)"
"""A path with a backslash, with a NUL, or with a segment ``.`` or ``..``, percent-encoded or not.
One proxy resolves it or cuts it off there and the next one does not, so it could pass a rule about
paths in front of the gateway. Behind a function's name all else is the function's own; elsewhere
the control plane looks more closely."""

LOCAL = "local"
OTHER = "other"


def header_removal(*, public: bool) -> dict[str, Any]:
    """Return the extension that removes internal headers.

    It runs before the filters and the access log. Headers of Envoy's own (retries, time-outs,
    tracing) go as well: from an address that Envoy takes for internal it would obey them.

    Args:
        public: Whether clients connect. The bridge, which connects to the other listener, passes
            on for whom it calls; a replica that sets that header gets fewer tracebacks, not more.
    """
    removed = [
        name for name in http.INTERNAL_HEADERS if public or name not in {http.REMOTE, http.KEY}
    ]
    mutations: list[dict[str, Any]] = [{"remove": name} for name in (*removed, _TRACE_ID)]
    mutations.append({"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}})
    return {
        "name": "internal",
        "typed_config": {
            "@type": f"{_TYPE}extensions.http.early_header_mutation.header_mutation.v3"
            ".HeaderMutation",
            "mutations": mutations,
        },
    }


def virtual_hosts(
    settings: DataplaneSettings, host: dict[str, Any], *, public: bool
) -> list[dict[str, Any]]:
    """Return the virtual hosts of a listener.

    The usual names are looked up in Envoy's table of domains, which every request passes anyway. A
    regular expression decides about all others: other ports, IP addresses, ``*.localhost``.

    Args:
        settings: What is allowed.
        host: All that the virtual hosts have in common.
        public: Whether clients connect.
    """
    host = {**host, "routes": [_ambiguous_route(), *host["routes"]]}
    names = hosts.split_names(settings.allowed_hosts)
    if not public or not settings.open or hosts.ANY in names:
        return [{"name": "all", "domains": ["*"], **host}]
    exact = ["localhost", "127.0.0.1", "[::1]", *(name for name in names if "*" not in name)]
    domains = [domain for name in exact for domain in (name, f"{name}:{settings.port}")]
    refusing = _host_routes(hosts.patterns(names), cors=bool(settings.cors))
    return [
        {"name": LOCAL, "domains": list(dict.fromkeys(domains)), **host},
        {"name": OTHER, "domains": ["*"], **host, "routes": [*refusing, *host["routes"]]},
    ]


def _ambiguous_route() -> dict[str, Any]:
    return {
        "match": {"safe_regex": {"regex": _AMBIGUOUS}},
        "direct_response": {"status": AMBIGUOUS_PATH},
    }


def _host_routes(patterns: list[str], *, cors: bool) -> list[dict[str, Any]]:
    """Routes that reject a ``Host`` that matches no pattern."""
    unknown = [
        {
            "name": ":authority",
            "string_match": {"safe_regex": {"regex": pattern}} if pattern else {"exact": ""},
            "invert_match": True,
        }
        for pattern in patterns
    ]
    status = status_of(errors.HostNotAllowed).http
    # A preflight would be answered before its route is looked at.
    silent = {"@type": f"{_TYPE}config.route.v3.FilterConfig", "disabled": True}
    off = {"cors": silent} if cors else {}
    refused = {"direct_response": {"status": status}}
    is_grpc = grpc.match()
    return [
        {
            "match": {"prefix": "/", **is_grpc, "headers": [*is_grpc["headers"], *unknown]},
            **refused,
            "typed_per_filter_config": {**grpc.replying(), **off},
        },
        {
            "match": {"prefix": "/", "headers": unknown},
            **refused,
            "typed_per_filter_config": off,
        },
    ]
