from __future__ import annotations

from pathlib import Path

import pytest

from dcf.builder.folders import FolderRecord
from dcf.builder.prune import enforce_limit, prune
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
    """Make a folder that was built: an environment and a file of its own."""
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


def test_items_in_use_stay(store: Store) -> None:
    make_function(store, "one", 1.0)
    pruned = prune(store)
    assert (pruned.items, pruned.freed) == ((), 0)
    assert pruned.kept > SIZE
    assert environments(store) == ["envone"]


def test_items_of_a_deleted_folder_are_removed(store: Store) -> None:
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


def test_a_dry_run_removes_nothing(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    (Path(record.folder) / "config.yaml").unlink()
    planned = prune(store, dry_run=True)
    assert environments(store) == ["envone"]
    done = prune(store)
    assert [(item.kind, item.name, item.size) for item in planned.items] == [
        (item.kind, item.name, item.size) for item in done.items
    ]
    assert planned.freed == done.freed


def test_a_shared_blob_stays_for_the_other_function(store: Store) -> None:
    record = make_function(store, "one", 1.0, b"model")
    make_function(store, "two", 2.0, b"model")
    (Path(record.folder) / "config.yaml").unlink()
    prune(store)
    assert len(list(store.blobs.all())) == 1


def test_held_items_stay(store: Store) -> None:
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


def test_the_previous_environment_of_a_folder_is_removed(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    make_environment(store, "newer")
    record.environment = "newer"
    record.save(store)
    assert [(item.kind, item.name) for item in prune(store).items] == [("environment", "envone")]


def test_leftovers_are_removed_unless_a_build_runs(store: Store) -> None:
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


def test_guards_of_removed_items_are_removed(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    with store.guard(make_guard("envone")), store.hold("envone"):
        pass
    prune(store)
    assert len(list(store.guards.iterdir())) == 3
    (Path(record.folder) / "config.yaml").unlink()
    prune(store)
    assert [path.name for path in store.guards.iterdir()] == [f"{GUARD_OF_STORE}.lock"]


def test_a_damaged_record_and_a_damaged_bundle_do_not_stop_a_prune(store: Store) -> None:
    record = make_function(store, "one", 1.0)
    (store.folders / "broken.json").write_text("{")
    (store.bundles / f"{record.bundle.removeprefix('sha256:')}.json").write_text("[]")
    kinds = [(item.kind, item.name) for item in prune(store).items]
    assert ("folder", "broken") in kinds
    assert environments(store) == ["envone"]


def test_above_the_limit_the_least_recently_used_is_removed(store: Store) -> None:
    for number, name in enumerate(["old", "middle", "new"]):
        make_function(store, name, float(number))
    pruned = prune(store, limit=int(2.5 * SIZE))
    assert environments(store) == ["envmiddle", "envnew"]
    assert pruned.kept <= 2.5 * SIZE
    assert ("folder", str(store.root.parent / "old")) in [
        (item.kind, item.name) for item in pruned.items
    ]


def test_the_limit_keeps_the_latest_build_and_held_items(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    make_function(store, "held", 1.0)
    make_function(store, "other", 2.0)
    with store.hold("envheld"):
        assert enforce_limit(store, 1, built) is not None
    assert environments(store) == ["envbuilt", "envheld"]


def test_within_the_limit_nothing_is_removed(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    make_environment(store, "unused")
    assert enforce_limit(store, 10 * SIZE, built) is None
    assert environments(store) == ["envbuilt", "unused"]


def test_the_limit_is_not_enforced_while_another_build_runs(store: Store) -> None:
    built = make_function(store, "built", 0.0)
    with store.guard(GUARD_OF_STORE, shared=True):
        assert enforce_limit(store, 0, built) is None
