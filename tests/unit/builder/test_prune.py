from __future__ import annotations

from pathlib import Path

import pytest

from dcf.builder.folders import FolderRecord
from dcf.builder.prune import enforce_bound, prune
from dcf.builder.store import GUARD_OF_STORE, Marker, Store, make_guard
from dcf.model.artifact import Bundle, BundleFile

SIZE = 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make_environment(store: Store, key: str, *, whole: bool = True) -> None:
    (store.environments / key / "bin").mkdir(parents=True)
    (store.environments / key / "bin" / "python").write_bytes(bytes(SIZE))
    if whole:
        store.mark(key, Marker(SIZE, 0.0, "/python", "sha256:0"))


def make_function(store: Store, name: str, used: float, content: bytes = b"") -> FolderRecord:
    """A folder that was built: one environment and one file of its own."""
    folder = store.root.parent / name
    folder.mkdir()
    (folder / "config.yaml").touch()
    digest, size = store.blobs.add([content or name.encode()])
    bundle = store.put_bundle(Bundle((BundleFile("a", digest, size),)))
    make_environment(store, f"env{name}")
    record = FolderRecord(str(folder), name, bundle, store.put_lock(name), f"env{name}", used, {})
    record.save(store)
    return record


def environments(store: Store) -> list[str]:
    return sorted(path.name for path in store.environments.iterdir() if path.is_dir())


def test_what_is_used_stays(store: Store) -> None:
    make_function(store, "one", 1.0)
    pruned = prune(store)
    assert (pruned.items, pruned.freed) == ((), 0)
    assert pruned.kept > SIZE
    assert environments(store) == ["envone"]


def test_what_a_deleted_folder_used_goes(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    make_function(store, "two", 2.0)
    (Path(record.folder) / "config.yaml").unlink()
    pruned = prune(store)
    kinds = sorted(item.kind for item in pruned.items)
    assert kinds == ["blob", "bundle", "environment", "folder", "lock"]
    assert pruned.freed > SIZE
    assert environments(store) == ["envtwo"]
    assert len(list(store.blobs.all())) == 1
    assert len(list(store.folders.iterdir())) == 1
    assert prune(store).items == ()


def test_a_dry_run_only_tells(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    (Path(record.folder) / "config.yaml").unlink()
    told = prune(store, dry_run=True)
    assert environments(store) == ["envone"]
    done = prune(store)
    assert [(item.kind, item.name, item.size) for item in told.items] == [
        (item.kind, item.name, item.size) for item in done.items
    ]
    assert told.freed == done.freed


def test_a_shared_blob_stays_for_the_other(store: Store) -> None:
    record = make_function(store, "one", 1.0, b"model")
    make_function(store, "two", 2.0, b"model")
    (Path(record.folder) / "config.yaml").unlink()
    prune(store)
    assert len(list(store.blobs.all())) == 1


def test_what_is_held_stays(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    (Path(record.folder) / "config.yaml").unlink()
    with store.hold(record.environment), store.hold(record.bundle):
        pruned = prune(store)
        assert sorted(item.kind for item in pruned.items) == ["folder", "lock"]
        assert environments(store) == ["envone"]
        assert len(list(store.blobs.all())) == 1
    prune(store)
    assert environments(store) == []
    assert list(store.blobs.all()) == []


def test_an_earlier_environment_of_a_folder_goes(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    make_environment(store, "newer")
    record.environment = "newer"
    record.save(store)
    assert [(item.kind, item.name) for item in prune(store).items] == [("environment", "envone")]


def test_leftovers_go_unless_somebody_still_works(store: Store) -> None:
    make_environment(store, "half", whole=False)
    (store.scratch / "tmpabc").mkdir()
    (store.scratch / "tmpabc" / "x").write_text("12345")
    (store.scratch / "tmpfile").write_text("123")
    with store.guard(make_guard("half")):
        kinds = {(item.kind, item.name, item.size) for item in prune(store).items}
        assert kinds == {("leftover", "tmpabc", 5), ("leftover", "tmpfile", 3)}
        assert environments(store) == ["half"]
    assert [(item.name, item.size) for item in prune(store).items] == [("half", SIZE)]
    assert environments(store) == []
    assert list(store.scratch.iterdir()) == []


def test_guards_of_what_is_gone_go(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    with store.guard(make_guard("envone")), store.hold("envone"):
        pass
    prune(store)
    assert len(list(store.guards.iterdir())) == 3
    (Path(record.folder) / "config.yaml").unlink()
    prune(store)
    assert [path.name for path in store.guards.iterdir()] == [f"{GUARD_OF_STORE}.lock"]


def test_a_damaged_record_and_a_damaged_bundle_are_no_obstacle(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    (store.folders / "broken.json").write_text("{")
    (store.bundles / f"{record.bundle.removeprefix('sha256:')}.json").write_text("[]")
    kinds = [(item.kind, item.name) for item in prune(store).items]
    assert ("folder", "broken") in kinds
    assert environments(store) == ["envone"]


def test_beyond_the_limit_the_least_recently_used_goes(store: Store) -> None:
    for number, name in enumerate(["old", "middle", "new"]):
        make_function(store, name, float(number))
    pruned = prune(store, limit=int(2.5 * SIZE))
    assert environments(store) == ["envmiddle", "envnew"]
    assert pruned.kept <= 2.5 * SIZE
    assert ("folder", str(store.root.parent / "old")) in [
        (item.kind, item.name) for item in pruned.items
    ]


def test_the_bound_spares_what_was_built_and_what_is_held(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    make_function(store, "held", 1.0)
    make_function(store, "other", 2.0)
    with store.hold("envheld"):
        assert enforce_bound(store, 1, built) is not None
    assert environments(store) == ["envbuilt", "envheld"]


def test_within_the_bound_nothing_goes(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    make_environment(store, "unused")
    assert enforce_bound(store, 10 * SIZE, built) is None
    assert environments(store) == ["envbuilt", "unused"]


def test_the_bound_waits_for_no_other_build(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    with store.guard(GUARD_OF_STORE, shared=True):
        assert enforce_bound(store, 0, built) is None
