"""The incremental discovery protocol, message by message."""

from dcf.dataplane.xds_resources import Packed
from dcf.dataplane.xds_subscription import Change, XdsSubscription


def packed(version: str) -> Packed:
    return Packed(version, version.encode())


def due(subscription: XdsSubscription, resources: dict) -> Change:
    change = subscription.next(resources)
    assert change is not None
    return change


def test_the_first_message_is_sent_even_if_it_is_empty():
    clusters = XdsSubscription(everything=True)
    change = due(clusters, {})
    assert (change.resources, change.removed) == ({}, [])
    clusters.answer(change.nonce, accepted=True)
    assert clusters.next({}) is None


def test_resources_are_sent_only_after_they_are_named():
    endpoints = XdsSubscription(everything=False)
    assert endpoints.next({"a": packed("1")}) is None
    endpoints.request(["a"], [], first=True)
    assert list(due(endpoints, {"a": packed("1"), "b": packed("1")}).resources) == ["a"]


def test_changes_are_merged_while_a_message_is_unanswered():
    clusters = XdsSubscription(everything=True)
    first = due(clusters, {"a": packed("1")})
    assert clusters.next({"a": packed("2")}) is None
    assert clusters.accepted == {}
    clusters.answer(first.nonce, accepted=True)
    assert clusters.accepted == {"a": "1"}
    second = due(clusters, {"a": packed("3"), "b": packed("1")})
    assert sorted(second.resources) == ["a", "b"]
    assert second.nonce != first.nonce


def test_only_differences_are_sent():
    clusters = XdsSubscription(everything=True)
    clusters.answer(due(clusters, {"a": packed("1"), "b": packed("1")}).nonce, accepted=True)
    change = due(clusters, {"a": packed("1"), "c": packed("1")})
    assert (list(change.resources), change.removed) == (["c"], ["b"])
    clusters.answer(change.nonce, accepted=True)
    assert clusters.accepted == {"a": "1", "c": "1"}


def test_after_a_reconnect_only_changed_resources_are_sent():
    clusters = XdsSubscription(everything=True)
    clusters.resume({"same": "1", "other": "1", "gone": "1"})
    change = due(clusters, {"same": packed("1"), "other": packed("2")})
    assert (list(change.resources), change.removed) == (["other"], ["gone"])


def test_resources_that_envoy_already_has_are_not_sent_again():
    endpoints = XdsSubscription(everything=False)
    endpoints.resume({"a": "1"})
    endpoints.request(["a"], [], first=True)
    assert endpoints.next({"a": packed("1")}) is None


def test_a_repeated_name_is_sent_again():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.request(["a"], [], first=False)
    assert list(due(endpoints, {"a": packed("1")}).resources) == ["a"]


def test_repeated_resources_are_sent_again_if_envoy_subscribes_to_them():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.repeat(["a", "b"])
    assert list(due(endpoints, {"a": packed("1"), "b": packed("1")}).resources) == ["a"]


def test_an_unknown_name_is_sent_as_removed():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    assert due(endpoints, {}).removed == ["a"]


def test_an_unsubscribed_resource_is_not_sent():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.request([], ["a"], first=False)
    assert endpoints.accepted == {}
    assert endpoints.next({"a": packed("2")}) is None


def test_a_rejected_change_is_sent_again_resource_by_resource_once():
    clusters = XdsSubscription(everything=True)
    resources = {"good": packed("1"), "bad": packed("1")}
    clusters.answer(due(clusters, resources).nonce, accepted=False)
    seen = []
    for _ in resources:
        change = due(clusters, resources)
        [name] = change.resources
        seen.append(name)
        clusters.answer(change.nonce, accepted=name == "good")
    assert sorted(seen) == ["bad", "good"]
    assert clusters.accepted == {"good": "1"}
    assert clusters.next(resources) is None
    assert list(due(clusters, {**resources, "bad": packed("2")}).resources) == ["bad"]


def test_an_answer_to_an_unknown_message_is_ignored():
    clusters = XdsSubscription(everything=True)
    assert clusters.answer("7", accepted=True) is None
    assert due(clusters, {}).nonce == "1"
    assert clusters.answer("7", accepted=True) is None
