"""The first checks of a request in Envoy.

Envoy removes the headers that only the gateway's own processes may set. It rejects a path that a
proxy in front could read differently, and a ``Host`` that is not allowed. Reasons:
docs/decisions/0033-inbound.md.
"""

from __future__ import annotations

from typing import Any

from dcf import errors
from dcf.dataplane import grpc
from dcf.dataplane.local_replies import AMBIGUOUS_PATH
from dcf.protocol import hosts, http
from dcf.protocol.status_codes import status_of
from dcf.settings import DataplaneSettings

_TYPE = "type.googleapis.com/envoy."

_TRACE_ID = "x-client-trace-id"
"""Envoy decides about tracing by this header, as by its own headers."""

_AMBIGUOUS = r".*(\\.*|%00.*|/(\.|%2[Ee]){1,2}(/.*)?)"
"""Matches a path with a backslash, a NUL, or a segment ``.`` or ``..``, percent-encoded or not.
Some proxies resolve or truncate such a path and others do not, so it could pass a rule about paths
in front of the gateway. Everything else after a function's name is left to the function. Elsewhere
the control plane checks more strictly."""

LOCAL = "local"
OTHER = "other"


def header_removal(*, public: bool) -> dict[str, Any]:
    """Return the extension that removes internal headers.

    It runs before the filters and the access log. It also removes Envoy's own headers (retries,
    timeouts, tracing), because Envoy obeys them from addresses that it considers internal.

    Args:
        public: Whether the listener is for clients. On the private listener the bridge passes on
            whose call it makes. A replica that sets that header gets fewer tracebacks, not more.
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

    Envoy looks up the usual names in its table of domains, which every request passes anyway. A
    regular expression decides about all others: other ports, IP addresses, ``*.localhost``.

    Args:
        settings: The allowed names.
        host: The members that all virtual hosts share.
        public: Whether the listener is for clients.
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
    """Return the routes that reject a ``Host`` that matches no pattern."""
    unknown = [
        {
            "name": ":authority",
            "string_match": {"safe_regex": {"regex": pattern}} if pattern else {"exact": ""},
            "invert_match": True,
        }
        for pattern in patterns
    ]
    status = status_of(errors.HostNotAllowed).http
    # Otherwise the CORS filter would answer a preflight before its route is selected.
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
