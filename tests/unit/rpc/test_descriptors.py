"""Message classes from a table serialize as protobuf does."""

import pytest

from dcf.rpc import xds_messages
from dcf.rpc.descriptors import build


def test_messages_match_bytes_written_by_hand():
    kinds = build(
        "test.bytes",
        {
            "Inner": {"word": (3, "string")},
            "Outer": {
                "inner": (1, "[Inner]"),
                "by_name": (2, "map<string,Inner>"),
                "n": (9, "uint32"),
            },
        },
    )
    message = kinds["Outer"](inner=[{"word": "a"}, {"word": "b"}], n=300)
    assert message.SerializeToString() == b"\x0a\x03\x1a\x01a\x0a\x03\x1a\x01b\x48\xac\x02"
    named = kinds["Outer"]()
    named.by_name["k"].word = "v"
    assert named.SerializeToString() == b"\x12\x08\x0a\x01k\x12\x03\x1a\x01v"
    assert kinds["Outer"].FromString(named.SerializeToString()) == named


def test_an_unknown_field_is_ignored():
    status = xds_messages.DeltaDiscoveryRequest.FromString(b"\x12\x01x\xa2\x1f\x01y")
    assert status.type_url == "x"


def test_an_inconsistent_table_is_an_error():
    with pytest.raises(TypeError):
        build("test.wrong", {"A": {"b": (1, "Missing")}})


def test_the_table_matches_the_protocol():
    request = xds_messages.DeltaDiscoveryRequest(
        type_url=xds_messages.CLUSTER,
        initial_resource_versions={"a": "1"},
        error_detail={"message": "no"},
    )
    assert request.HasField("error_detail")
    assert xds_messages.CLUSTER == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
