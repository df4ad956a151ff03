"""The resources of a function in Envoy."""

import pytest

from dcf.dataplane.xds_resources import assignment, cluster
from dcf.model.routing import CallLimits, Destination
from dcf.rpc import xds_messages


def test_the_version_identifies_the_content():
    one, two = Destination("unix:/a", 1), Destination("tcp:127.0.0.1:80", 1)
    assert assignment("f", [one, two]) == assignment("f", [two, one])
    assert assignment("f", [one]).version != assignment("f", [two]).version
    assert cluster("f", CallLimits()) == cluster("f", CallLimits())
    assert cluster("f", CallLimits()).version != cluster("f", CallLimits(calls=1)).version


def test_endpoints():
    destinations = [Destination("tcp:[::1]:80", 3), Destination("unix:/a b", 3)]
    message = xds_messages.ClusterLoadAssignment.FromString(assignment("f", destinations).body)
    tcp, unix = message.endpoints[0].lb_endpoints
    assert tcp.endpoint.address.socket_address.address == "::1"
    assert tcp.endpoint.address.socket_address.port_value == 80
    assert tcp.endpoint.hostname == "3", "as the log names it"
    assert unix.endpoint.address.pipe.path == "/a b"
    assert message.cluster_name == "f"


def test_calls_are_divided_among_revisions_regardless_of_the_numbers_of_replicas():
    destinations = [
        Destination("unix:/c", 2, 12.5),
        Destination("unix:/a", 1, 87.5),
        Destination("unix:/b", 1, 87.5),
    ]
    message = xds_messages.ClusterLoadAssignment.FromString(assignment("f", destinations).body)
    found = {
        one.locality.sub_zone: (one.load_balancing_weight.value, len(one.lb_endpoints))
        for one in message.endpoints
    }
    assert found == {"1": (87500, 2), "2": (12500, 1)}


def test_no_endpoints():
    assert not xds_messages.ClusterLoadAssignment.FromString(assignment("f", []).body).endpoints


@pytest.mark.parametrize("endpoint", ["", "unix:", "tcp:localhost:80", "tcp:127.0.0.1:x", "http:x"])
def test_an_invalid_endpoint_is_an_error(endpoint):
    with pytest.raises(ValueError, match=r"expected unix|IPv4"):
        assignment("f", [Destination(endpoint)])


def test_limits():
    limits = CallLimits(connect_timeout=0.5, max_body=7, calls=8, queue=9)
    message = xds_messages.Cluster.FromString(cluster("f", limits).body)
    [threshold] = message.circuit_breakers.thresholds
    assert (threshold.max_connections.value, threshold.max_pending_requests.value) == (8, 9)
    assert message.connect_timeout.ToMilliseconds() == 500
    [packed] = message.typed_extension_protocol_options.values()
    options = xds_messages.UpstreamHttpOptions.FromString(packed.value)
    body = options.http_filters[0].typed_config.value
    assert xds_messages.BodySizeLimit.FromString(body).max_request_bytes.value == 7
