"""Messages of xDS, Envoy's discovery protocol.

Names and numbers are Envoy's (github.com/envoyproxy/envoy, folder ``api``). Messages and fields
that DCF does not use are left out, which protobuf allows.
"""

from __future__ import annotations

from typing import Any

from dcf.rpc.descriptors import build

_ANY = ".google.protobuf.Any"
_DURATION = ".google.protobuf.Duration"
_UINT32 = ".google.protobuf.UInt32Value"
_UINT64 = ".google.protobuf.UInt64Value"

_MESSAGES = build(
    "dcf.rpc.xds_messages",
    {
        # In service/discovery/v3; Status in google.rpc.
        "Status": {"code": (1, "int32"), "message": (2, "string")},
        "Resource": {"version": (1, "string"), "resource": (2, _ANY), "name": (3, "string")},
        "DeltaDiscoveryRequest": {
            "type_url": (2, "string"),
            "resource_names_subscribe": (3, "[string]"),
            "resource_names_unsubscribe": (4, "[string]"),
            "initial_resource_versions": (5, "map<string,string>"),
            "response_nonce": (6, "string"),
            "error_detail": (7, "Status"),
        },
        "DeltaDiscoveryResponse": {
            "system_version_info": (1, "string"),
            "resources": (2, "[Resource]"),
            "type_url": (4, "string"),
            "nonce": (5, "string"),
            "removed_resources": (6, "[string]"),
        },
        # In config/core/v3.
        "SocketAddress": {"address": (2, "string"), "port_value": (3, "uint32")},
        "Pipe": {"path": (1, "string")},
        "Address": {"socket_address": (1, "SocketAddress"), "pipe": (2, "Pipe")},
        "Locality": {"sub_zone": (3, "string")},
        "Empty": {},
        "ConfigSource": {"ads": (3, "Empty"), "resource_api_version": (6, "int32")},
        # In config/endpoint/v3.
        "Endpoint": {"address": (1, "Address"), "hostname": (3, "string")},
        "LbEndpoint": {"endpoint": (1, "Endpoint")},
        "LocalityLbEndpoints": {
            "locality": (1, "Locality"),
            "lb_endpoints": (2, "[LbEndpoint]"),
            "load_balancing_weight": (3, _UINT32),
        },
        "ClusterLoadAssignment": {
            "cluster_name": (1, "string"),
            "endpoints": (2, "[LocalityLbEndpoints]"),
        },
        # In config/cluster/v3.
        "Thresholds": {
            "max_connections": (2, _UINT32),
            "max_pending_requests": (3, _UINT32),
            "max_requests": (4, _UINT32),
            "max_retries": (5, _UINT32),
        },
        "CircuitBreakers": {"thresholds": (1, "[Thresholds]")},
        "OutlierDetection": {
            "interval": (2, _DURATION),
            "base_ejection_time": (3, _DURATION),
            "max_ejection_percent": (4, _UINT32),
            "enforcing_consecutive_5xx": (5, _UINT32),
            "enforcing_success_rate": (6, _UINT32),
            "enforcing_consecutive_gateway_failure": (11, _UINT32),
            "split_external_local_origin_errors": (12, "bool"),
            "consecutive_local_origin_failure": (13, _UINT32),
            "enforcing_consecutive_local_origin_failure": (14, _UINT32),
            "enforcing_local_origin_success_rate": (15, _UINT32),
            "max_ejection_time": (21, _DURATION),
        },
        "EdsClusterConfig": {"eds_config": (1, "ConfigSource")},
        "CommonLbConfig": {"update_merge_window": (4, _DURATION)},
        "TypedExtensionConfig": {"name": (1, "string"), "typed_config": (2, _ANY)},
        "Policy": {"typed_extension_config": (4, "TypedExtensionConfig")},
        "LoadBalancingPolicy": {"policies": (1, "[Policy]")},
        "Cluster": {
            "name": (1, "string"),
            "type": (2, "int32"),
            "eds_cluster_config": (3, "EdsClusterConfig"),
            "connect_timeout": (4, _DURATION),
            "per_connection_buffer_limit_bytes": (5, _UINT32),
            "circuit_breakers": (10, "CircuitBreakers"),
            "outlier_detection": (19, "OutlierDetection"),
            "load_assignment": (33, "ClusterLoadAssignment"),
            "common_lb_config": (27, "CommonLbConfig"),
            "typed_extension_protocol_options": (36, f"map<string,{_ANY}>"),
            "load_balancing_policy": (41, "LoadBalancingPolicy"),
        },
        # In extensions/load_balancing_policies, common/v3 and least_request/v3.
        "LocalityLbConfig": {"locality_weighted_lb_config": (2, "Empty")},
        "LeastRequest": {
            "locality_lb_config": (4, "LocalityLbConfig"),
            "selection_method": (6, "int32"),
        },
        # In config/core/v3 again.
        "HttpProtocolOptions": {
            "idle_timeout": (1, _DURATION),
        },
        "Http1ProtocolOptions": {},
        # In extensions/upstreams/http/v3, where UpstreamHttpOptions is called HttpProtocolOptions.
        "ExplicitHttpConfig": {"http_protocol_options": (1, "Http1ProtocolOptions")},
        "UpstreamHttpOptions": {
            "common_http_protocol_options": (1, "HttpProtocolOptions"),
            "explicit_http_config": (3, "ExplicitHttpConfig"),
            "http_filters": (6, "[HttpFilter]"),
        },
        # In extensions/filters/network/http_connection_manager/v3 and filters/http/body_size_limit.
        "HttpFilter": {"name": (1, "string"), "typed_config": (4, _ANY)},
        "BodySizeLimit": {"max_request_bytes": (1, _UINT64)},
    },
)

DeltaDiscoveryRequest: Any = _MESSAGES["DeltaDiscoveryRequest"]
DeltaDiscoveryResponse: Any = _MESSAGES["DeltaDiscoveryResponse"]
Resource: Any = _MESSAGES["Resource"]
Cluster: Any = _MESSAGES["Cluster"]
ClusterLoadAssignment: Any = _MESSAGES["ClusterLoadAssignment"]
LbEndpoint: Any = _MESSAGES["LbEndpoint"]
LeastRequest: Any = _MESSAGES["LeastRequest"]
UpstreamHttpOptions: Any = _MESSAGES["UpstreamHttpOptions"]
BodySizeLimit: Any = _MESSAGES["BodySizeLimit"]
Empty: Any = _MESSAGES["Empty"]

_PREFIX = "type.googleapis.com/envoy."
CLUSTER = _PREFIX + "config.cluster.v3.Cluster"
ASSIGNMENT = _PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
UPSTREAM_HTTP_OPTIONS = _PREFIX + "extensions.upstreams.http.v3.HttpProtocolOptions"
LEAST_REQUEST = _PREFIX + "extensions.load_balancing_policies.least_request.v3.LeastRequest"
BODY_SIZE_LIMIT = _PREFIX + "extensions.filters.http.body_size_limit.v3.BodySizeLimit"
UPSTREAM_CODEC = _PREFIX + "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
"""Type URLs: the types of the bytes in an ``Any``."""

STREAM_METHOD = "DeltaAggregatedResources"
SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
"""The service, and the only method that DCF uses."""
