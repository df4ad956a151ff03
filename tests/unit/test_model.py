"""The nouns."""

import pytest

from dcf.errors import InvalidName
from dcf.model.artifact import Artifact, Bundle, BundleFile, digest_of
from dcf.model.names import check_name
from dcf.model.replica import TRANSITIONS, ReplicaState, follows


@pytest.mark.parametrize("name", ["a", "hello-dcf", "x1", "a" * 63, "a--b"])
def test_names_that_are_allowed(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("a" * 64, "expected at most 63 characters, got 64"),
        ("Hello", "start with a lower-case letter"),
        ("1a", "start with a lower-case letter"),
        ("a_b c", "expected only lower-case letters, digits and '-', got ' ' '_'"),
        ("a-", "end with a letter or a digit"),
        ("a\n", "got '\\\\n'"),
        ("ñandu", "start with a lower-case letter"),
    ],
)
def test_names_that_are_not(name, reason):
    with pytest.raises(InvalidName, match=reason):
        check_name(name)


def test_every_state_can_end_and_the_end_is_final():
    assert set(TRANSITIONS) == set(ReplicaState)
    assert TRANSITIONS[ReplicaState.EXITED] == frozenset()
    for state in ReplicaState:
        assert state is ReplicaState.EXITED or follows(state, ReplicaState.EXITED)
    assert not follows(ReplicaState.FAILED, ReplicaState.READY)


def test_a_bundle_is_named_by_all_that_it_says():
    file = BundleFile("src/handler.py", digest_of(b"x"), 1)
    bundle = Bundle((file,))
    assert Bundle.from_json(bundle.to_json()) == bundle
    for other in (
        BundleFile("src/other.py", file.digest, 1),
        BundleFile(file.path, digest_of(b"y"), 1),
        BundleFile(file.path, file.digest, 1, executable=True),
    ):
        assert Bundle((other,)).digest != bundle.digest


def test_an_artifact_is_named_by_bundle_and_lock():
    names = {Artifact(*pair).digest for pair in (("a", "b"), ("b", "a"), ("ab", ""))}
    assert len(names) == 3
