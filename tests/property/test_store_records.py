"""A record of the store is parsed, or counts as missing if it is damaged in any way."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcf.builder.folders import FolderRecord
from dcf.builder.prune import prune
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.store import Marker, Store
from dcf.builder.uploads import awaited
from dcf.model.artifact import Artifact, Bundle, BundleFile, digest_of, is_digest

DIGEST = digest_of(b"x")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from([DIGEST, "", "../x", "\0", "0" * 32]),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)  # fmt: skip
FIELDS = (
    *("folder", "function", "bundle", "lock", "environment", "used", "files"),
    *("size", "created", "interpreter"),
)


def some(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(dict.fromkeys(names, VALUES))


RECORDS = (
    st.sampled_from([FIELDS[:7], ("bundle", "lock"), ("bundle", "lock", "environment")])
    .flatmap(some)
    .map(lambda members: json.dumps(members).encode())
    | some(("size", "created", "interpreter", "lock")).map(
        lambda members: json.dumps(members).encode()
    )
    | VALUES.map(lambda members: json.dumps(members).encode())
    | st.binary(max_size=30)
)
DEEP = b"[" * 100_000
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
NUMBERS = st.integers(0, 2**63)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@example(DEEP)
@example(json.dumps({"bundle": 5, "lock": 6, "environment": 7}).encode())
@given(RECORDS)
def test_a_damaged_record_counts_as_missing(store, content) -> None:
    key = "0" * 32
    places = {
        store.folders / "a.json",
        store.marker_path(key),
        store.deployed / "a-b.json",
        store.uploads / "a.json",
    }
    for place in places:
        place.write_bytes(content)
    record = FolderRecord.read(store.folders / "a.json")
    assert record is None or "\0" not in record.folder
    assert isinstance(store.marker(key), Marker | None)
    for artifact in [
        *awaited(store),
        *(entry.artifact for entry in RetainedArtifacts(store).entries()),
    ]:
        assert is_digest(artifact.bundle)
        assert is_digest(artifact.lock)
    prune(store, dry_run=True)
    for place in places:
        place.unlink()


@given(
    st.builds(
        FolderRecord,
        TEXTS.map(lambda text: f"/{text}"),
        TEXTS,
        st.sampled_from(["", DIGEST]),
        st.sampled_from(["", DIGEST]),
        TEXTS,
        st.floats(0, 2**40),
        st.dictionaries(TEXTS, st.tuples(*[NUMBERS] * 6).map(lambda numbers: [*numbers, DIGEST])),
    )
)
def test_a_record_is_parsed_to_what_was_written(store, record) -> None:
    record.save(store)
    assert asdict(FolderRecord.load(store, Path(record.folder), record.function)) == asdict(record)


@given(st.lists(st.builds(BundleFile, TEXTS, st.just(DIGEST), NUMBERS, st.booleans()), max_size=4))
def test_a_bundle_is_parsed_to_what_was_written(store, files) -> None:
    bundle = Bundle(tuple(files))
    assert store.bundle(store.put_bundle(bundle)) == bundle
    assert is_digest(Artifact(digest_of(bundle.to_json()), DIGEST).digest)
