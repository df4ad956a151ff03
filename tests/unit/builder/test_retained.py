from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dcf.builder.prune import enforce_limit, prune
from dcf.builder.retained import SETTLING, RetainedArtifacts, RetainedEntry
from dcf.builder.store import Marker, Store
from dcf.errors import StorageError
from dcf.model.artifact import Artifact, Bundle, BundleFile
from unit.builder.kit import names

SIZE = 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def deployed(store: Store) -> RetainedArtifacts:
    return RetainedArtifacts(store)


def make_artifact(store: Store, name: str) -> Artifact:
    digest, size = store.blobs.add([name.encode()])
    bundle = store.put_bundle(Bundle((BundleFile("a", digest, size),)))
    return Artifact(bundle, store.put_lock(name))


def make_environment(store: Store, key: str) -> str:
    (store.environments / key).mkdir()
    (store.environments / key / "file").write_bytes(bytes(SIZE))
    store.mark(key, Marker(SIZE, 0.0, "/python", "sha256:0"))
    return key


def settle(store: Store) -> None:
    then = time.time() - SETTLING - 60
    for path in store.deployed.iterdir():
        os.utime(path, (then, then))


def test_a_deployed_artifact_is_never_pruned(store: Store, deployed: RetainedArtifacts) -> None:
    artifact = make_artifact(store, "one")
    deployed.add(artifact, make_environment(store, "env"))
    make_artifact(store, "other")
    assert sorted(item.kind for item in prune(store, limit=1).items) == ["blob", "bundle", "lock"]
    assert store.marker("env") is not None
    assert len(store.bundle(artifact.bundle).files) == 1
    assert store.lock(artifact.lock) == "one"
    assert len(list(store.blobs.all())) == 1


def test_the_store_limit_keeps_deployed_artifacts_without_a_folder(
    store: Store, deployed: RetainedArtifacts
) -> None:
    deployed.add(make_artifact(store, "one"), make_environment(store, "env"))
    make_environment(store, "unused")
    pruned = enforce_limit(store, SIZE, None)
    assert pruned is not None
    assert pruned.freed == SIZE
    assert names(store.environments) == ["env", "env.json"]


def test_a_dropped_artifact_is_pruned(store: Store, deployed: RetainedArtifacts) -> None:
    one, two = make_artifact(store, "one"), make_artifact(store, "two")
    deployed.add(one, make_environment(store, "env1"))
    deployed.add(two, make_environment(store, "env2"))
    settle(store)
    deployed.keep_only({two})
    assert deployed.entries() == (RetainedEntry(two, "env2"),)
    prune(store)
    assert names(store.environments) == ["env2", "env2.json"]
    assert names(store.locks) == [f"{two.lock.removeprefix('sha256:')}.txt"]


def test_an_entry_that_was_just_added_is_not_dropped(
    store: Store, deployed: RetainedArtifacts
) -> None:
    deployed.add(make_artifact(store, "one"), make_environment(store, "env"))
    deployed.keep_only(set())
    assert len(deployed.entries()) == 1


def test_an_artifact_has_an_entry_for_each_environment(
    store: Store, deployed: RetainedArtifacts
) -> None:
    artifact = make_artifact(store, "one")
    for key in ("before", "after"):
        deployed.add(artifact, make_environment(store, key))
        deployed.add(artifact, key)
    settle(store)
    deployed.keep_only({artifact})
    assert {entry.environment for entry in deployed.entries()} == {"before", "after"}


def test_an_artifact_that_is_not_in_the_store_cannot_be_kept(
    store: Store, deployed: RetainedArtifacts
) -> None:
    artifact = make_artifact(store, "one")
    with pytest.raises(StorageError, match="env is no longer in the store"):
        deployed.add(artifact, "env")
    key = make_environment(store, "env")
    with pytest.raises(StorageError, match="is not in the store"):
        deployed.add(Artifact(artifact.bundle, artifact.bundle), key)
    with pytest.raises(StorageError, match=r"expected a digest .*, got 'sha256:\.\./x'"):
        deployed.add(Artifact("sha256:../x", artifact.lock), key)
    assert deployed.entries() == ()


def test_a_damaged_entry_is_skipped(store: Store, deployed: RetainedArtifacts) -> None:
    (store.deployed / "x.json").write_text("{")
    assert deployed.entries() == ()
    assert prune(store).items == ()
    settle(store)
    deployed.keep_only(set())
    assert names(store.deployed) == []
