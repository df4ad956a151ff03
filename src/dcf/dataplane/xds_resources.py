"""A function's resources in Envoy: a cluster, and the endpoints of its ready replicas."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

from dcf.dataplane.listener import NO_REVISION
from dcf.model.endpoint import Endpoint
from dcf.model.routing import CallLimits, Destination
from dcf.rpc import xds_messages

_EDS = 3
_V3 = 2
_FULL_SCAN = 1
"""Values of Envoy's enums."""

IDLE = 60
"""Seconds that an idle connection to a replica stays open. Less than in the watcher, so that the
watcher never closes a connection on which a call is just being sent."""

BUFFER = 256 * 1024
"""Bytes buffered for a connection to a replica in each direction, as for clients' connections by
default. Envoy reads up to this much of a reply before it knows whether the client reads it."""

_WEIGHT = 1000
"""Factor for shares: Envoy's weights are whole numbers, so a share is exact to 0.001 %."""

NEVER, ALWAYS = 0, 100
"""Percent."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A serialized resource.

    Attributes:
        version: Digest of the content. A restarted discovery service gives the same content the
            same version, so Envoy keeps what has not changed.
        body: The serialized message.
    """

    version: str
    body: bytes


def cluster(name: str, limits: CallLimits) -> Packed:
    """Return the cluster of a function."""
    message = xds_messages.Cluster(
        name=name,
        type=_EDS,
        eds_cluster_config={"eds_config": {"ads": {}, "resource_api_version": _V3}},
        connect_timeout=_seconds(limits.connect_timeout),
        per_connection_buffer_limit_bytes={"value": BUFFER},
        load_balancing_policy={"policies": [{"typed_extension_config": _BALANCE}]},
        # Apply a new share immediately instead of after up to a second.
        common_lb_config={"update_merge_window": Duration()},
        circuit_breakers={
            "thresholds": [
                {
                    "max_connections": {"value": limits.calls},
                    "max_pending_requests": {"value": limits.queue},
                    "max_requests": {"value": limits.calls},
                    "max_retries": {"value": limits.calls},
                }
            ]
        },
        # A replica that refuses connections gets no calls for a moment. A replica that replies with
        # errors still does: the errors are the handler's, and all replicas have the same handler.
        outlier_detection={
            "interval": _seconds(1),
            "base_ejection_time": _seconds(1),
            "max_ejection_time": _seconds(10),
            "max_ejection_percent": {"value": 50},
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": {"value": 3},
            "enforcing_consecutive_local_origin_failure": {"value": ALWAYS},
            "enforcing_local_origin_success_rate": {"value": NEVER},
            "enforcing_consecutive_5xx": {"value": NEVER},
            "enforcing_consecutive_gateway_failure": {"value": NEVER},
            "enforcing_success_rate": {"value": NEVER},
        },
        typed_extension_protocol_options={
            xds_messages.UPSTREAM_HTTP_OPTIONS.partition("/")[2]: _any(
                xds_messages.UPSTREAM_HTTP_OPTIONS, _http(limits)
            )
        },
    )
    return _pack(message)


def assignment(name: str, destinations: Sequence[Destination]) -> Packed:
    """Return the endpoints of a function.

    Raises:
        ValueError: If an endpoint is invalid.
    """
    # Each revision is a locality: Envoy divides calls among localities by weight, then balances
    # within one. This also holds for a single revision, because a replica that moved to another
    # locality would be a new one to Envoy, without its connections.
    groups: dict[tuple[int, float], list[Any]] = {}
    for destination in sorted(destinations, key=str):
        key = (destination.revision, destination.share)
        groups.setdefault(key, []).append(_endpoint(destination))
    localities = [
        {
            "locality": {"sub_zone": str(revision)},
            "lb_endpoints": endpoints,
            "load_balancing_weight": {"value": max(1, round(share * _WEIGHT)) if share else 1},
        }
        for (revision, share), endpoints in sorted(groups.items(), key=lambda item: item[0])
    ]
    return _pack(xds_messages.ClusterLoadAssignment(cluster_name=name, endpoints=localities))


def _endpoint(destination: Destination) -> Any:
    endpoint = Endpoint.parse(destination.endpoint)
    if endpoint.is_unix:
        address: dict[str, Any] = {"pipe": {"path": endpoint.path}}
    else:
        ip = ipaddress.ip_address(endpoint.host)
        address = {"socket_address": {"address": str(ip), "port_value": endpoint.port}}
    return xds_messages.LbEndpoint(
        endpoint={"address": address, "hostname": str(destination.revision or NO_REVISION)}
    )


def _http(limits: CallLimits) -> Any:
    bound = xds_messages.BodySizeLimit(max_request_bytes={"value": limits.max_body})
    return xds_messages.UpstreamHttpOptions(
        common_http_protocol_options={"idle_timeout": _seconds(IDLE)},
        explicit_http_config={"http_protocol_options": {}},
        http_filters=[
            {"name": "body", "typed_config": _any(xds_messages.BODY_SIZE_LIMIT, bound)},
            {
                "name": "codec",
                "typed_config": _any(xds_messages.UPSTREAM_CODEC, xds_messages.Empty()),
            },
        ],
    )


def _seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(number * 1000))
    return duration


def _any(url: str, message: Any) -> AnyMessage:
    return AnyMessage(type_url=url, value=message.SerializeToString(deterministic=True))


_BALANCE = {
    "name": "least busy",
    "typed_config": _any(
        xds_messages.LEAST_REQUEST,
        xds_messages.LeastRequest(
            locality_lb_config={"locality_weighted_lb_config": {}},
            # Compare all replicas. Envoy's default compares a few random ones: if these are busy,
            # the call waits although another replica is idle.
            selection_method=_FULL_SCAN,
        ),
    ),
}


def _pack(message: Any) -> Packed:
    body = message.SerializeToString(deterministic=True)
    return Packed(hashlib.blake2b(body, digest_size=8).hexdigest(), body)
