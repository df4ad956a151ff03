"""The incremental discovery protocol, message by message."""

from dcf.dataplane.xds_resources import Packed
from dcf.dataplane.xds_subscription import Change, XdsSubscription


def packed(version: str) -> Packed:
    return Packed(version, version.encode())


def due(subscription: XdsSubscription, resources: dict) -> Change:
    change = subscription.next(resources)
    assert change is not None
    return change


def test_the_first_answer_comes_even_when_there_is_nothing():
    clusters = XdsSubscription(everything=True)
    change = due(clusters, {})
    assert (change.resources, change.removed) == ({}, [])
    clusters.answer(change.nonce, accepted=True)
    assert clusters.next({}) is None


def test_named_resources_wait_until_they_are_named():
    endpoints = XdsSubscription(everything=False)
    assert endpoints.next({"a": packed("1")}) is None
    endpoints.request(["a"], [], first=True)
    assert list(due(endpoints, {"a": packed("1"), "b": packed("1")}).resources) == ["a"]


def test_changes_while_one_is_unanswered_become_one():
    clusters = XdsSubscription(everything=True)
    first = due(clusters, {"a": packed("1")})
    assert clusters.next({"a": packed("2")}) is None
    assert clusters.accepted == {}
    clusters.answer(first.nonce, accepted=True)
    assert clusters.accepted == {"a": "1"}
    second = due(clusters, {"a": packed("3"), "b": packed("1")})
    assert sorted(second.resources) == ["a", "b"]
    assert second.nonce != first.nonce


def test_only_the_difference_is_sent():
    clusters = XdsSubscription(everything=True)
    clusters.answer(due(clusters, {"a": packed("1"), "b": packed("1")}).nonce, accepted=True)
    change = due(clusters, {"a": packed("1"), "c": packed("1")})
    assert (list(change.resources), change.removed) == (["c"], ["b"])
    clusters.answer(change.nonce, accepted=True)
    assert clusters.accepted == {"a": "1", "c": "1"}


def test_who_comes_back_is_sent_what_changed_meanwhile():
    clusters = XdsSubscription(everything=True)
    clusters.resume({"same": "1", "other": "1", "gone": "1"})
    change = due(clusters, {"same": packed("1"), "other": packed("2")})
    assert (list(change.resources), change.removed) == (["other"], ["gone"])


def test_names_that_come_back_with_a_version_are_not_sent_again():
    endpoints = XdsSubscription(everything=False)
    endpoints.resume({"a": "1"})
    endpoints.request(["a"], [], first=True)
    assert endpoints.next({"a": packed("1")}) is None


def test_what_is_named_again_is_sent_again():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.request(["a"], [], first=False)
    assert list(due(endpoints, {"a": packed("1")}).resources) == ["a"]


def test_what_is_repeated_is_sent_again_if_it_is_wanted():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.repeat(["a", "b"])
    assert list(due(endpoints, {"a": packed("1"), "b": packed("1")}).resources) == ["a"]


def test_an_unknown_name_is_said_to_be_gone():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    assert due(endpoints, {}).removed == ["a"]


def test_what_is_no_longer_wanted_is_not_sent():
    endpoints = XdsSubscription(everything=False)
    endpoints.request(["a"], [], first=True)
    endpoints.answer(due(endpoints, {"a": packed("1")}).nonce, accepted=True)
    endpoints.request([], ["a"], first=False)
    assert endpoints.accepted == {}
    assert endpoints.next({"a": packed("2")}) is None


def test_a_refused_change_comes_again_one_by_one_and_then_not():
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


def test_an_answer_to_another_message_is_none():
    clusters = XdsSubscription(everything=True)
    assert clusters.answer("7", accepted=True) is None
    assert due(clusters, {}).nonce == "1"
    assert clusters.answer("7", accepted=True) is None
