from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.builder.blobs import STAMP_NS
from dcf.builder.folders import FolderRecord
from dcf.builder.store import Marker, Store, make_guard
from dcf.errors import StorageError
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.settings import Locations


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_only_its_owner_can_enter_a_store_even_if_it_was_open_before(tmp_path: Path) -> None:
    root = tmp_path / "store"
    for folder in ("blobs/sha256/ab", "environments/key/bin"):
        (root / folder).mkdir(parents=True)
    program = root / "environments/key/bin/program"
    program.touch(mode=0o755)
    root.chmod(0o2775)

    Store(root)

    assert mode(root) == 0o2700
    assert mode(program) == 0o755
    assert mode(Store(tmp_path / "new").root) == 0o700


def test_a_data_directory_of_an_older_version_becomes_private(tmp_path: Path) -> None:
    places = Locations.from_mapping({"HOME": str(tmp_path), "DCF_DATA_DIR": str(tmp_path / "dcf")})
    folders = (places.data, places.store, places.replicas, places.workspaces, places.gateway)
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o755)

    Store.at(places)

    assert [mode(folder) for folder in folders] == [0o700] * 5


def test_a_folder_for_everybody_stays_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    Store.at(Locations.from_mapping({"HOME": "/", "DCF_DATA_DIR": str(tmp_path)}))
    assert mode(tmp_path) == 0o1777
    assert mode(tmp_path / "store") == 0o700


def test_a_blob_is_read_only_and_named_by_its_content(store: Store) -> None:
    digest, size = store.blobs.add([b"on", b"e"])
    path = store.blobs.path(digest)
    assert (digest, size) == (digest_of(b"one"), 3)
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_mtime_ns == STAMP_NS
    assert list(store.scratch.iterdir()) == []


def test_a_touched_blob_is_hashed_again(store: Store) -> None:
    digest, size = store.blobs.add([b"one"])
    os.utime(store.blobs.path(digest))
    assert store.blobs.has(digest, size)
    assert store.blobs.path(digest).stat().st_mtime_ns == STAMP_NS


@pytest.mark.parametrize("content", ["ONE", "longer"])
def test_a_damaged_blob_is_removed(store: Store, content: str) -> None:
    digest, size = store.blobs.add([b"one"])
    store.blobs.path(digest).chmod(0o644)
    store.blobs.path(digest).write_text(content)
    assert not store.blobs.has(digest, size)
    assert not store.blobs.path(digest).exists()
    store.blobs.add([b"one"])
    assert store.blobs.has(digest, size)


@pytest.mark.parametrize("touched", [False, True])
def test_a_wrong_size_finds_no_blob_and_removes_none(store: Store, *, touched: bool) -> None:
    digest, size = store.blobs.add([b"one"])
    if touched:
        os.utime(store.blobs.path(digest))
    assert not store.blobs.has(digest, size + 1)
    assert store.blobs.has(digest, size)


def test_a_text_that_is_not_a_digest_is_rejected(store: Store) -> None:
    (store.root / "outside.json").write_text("[]")
    with pytest.raises(StorageError, match=r"expected a digest .*, got 'sha256:\.\./outside'"):
        store.bundle("sha256:../outside")
    assert (store.root / "outside.json").exists()


def test_a_read_error_leaves_nothing(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.blobs.add(chunks())
    assert list(store.scratch.iterdir()) == []
    assert list(store.blobs.all()) == []


def test_bundles_and_locks_are_read_back(store: Store) -> None:
    bundle = Bundle((BundleFile("a", digest_of(b"a"), 1),))
    assert store.bundle(store.put_bundle(bundle)) == bundle
    assert store.lock(store.put_lock("six==1.16\n")) == "six==1.16\n"


def test_a_damaged_lock_is_removed(store: Store) -> None:
    digest = store.put_lock("six==1.16\n")
    (store.locks / f"{digest.removeprefix('sha256:')}.txt").write_text("six")
    with pytest.raises(StorageError, match="damaged"):
        store.lock(digest)
    with pytest.raises(StorageError, match="not in the store"):
        store.lock(digest)


def test_a_truncated_marker_counts_as_missing(store: Store) -> None:
    store.mark("key", Marker(1, 2.0, "/python", "sha256:0"))
    assert store.marker("key") == Marker(1, 2.0, "/python", "sha256:0")
    store.marker_path("key").write_text('{"size": 1')
    assert store.marker("key") is None


def test_a_record_is_read_back_and_a_damaged_record_is_empty(store: Store, tmp_path: Path) -> None:
    record = FolderRecord.load(store, tmp_path, "f")
    assert (record.bundle, record.files) == ("", {})
    record.bundle = "sha256:1"
    record.save(store)
    assert FolderRecord.load(store, tmp_path, "f") == record
    assert FolderRecord.load(store, tmp_path, "g").bundle == ""
    for path in store.folders.iterdir():
        path.write_text("[]")
    assert FolderRecord.load(store, tmp_path, "f").bundle == ""


def test_a_hold_is_visible_and_shared(store: Store) -> None:
    store.mark("key", Marker(1, 2.0, "/python", "sha256:0"))
    assert not store.is_held("key")
    with store.hold("key"), store.hold("key"):
        assert store.is_held("key")
    assert not store.is_held("key")


def test_a_removed_item_cannot_be_held(store: Store) -> None:
    with pytest.raises(StorageError, match="build it again"), store.hold("key"):
        pass
    with pytest.raises(StorageError, match="build it again"), store.hold("sha256:0"):
        pass


def test_a_child_that_inherits_a_hold_keeps_it(store: Store) -> None:
    store.mark("key", Marker(1, 2.0, "/python", "sha256:0"))
    with store.hold("key") as descriptor:
        kept = os.dup(descriptor)  # what a child has after fork and exec
    assert store.is_held("key")
    os.close(kept)
    assert not store.is_held("key")


def test_a_wait_for_a_lock_is_reported_once(store: Store) -> None:
    waits: list[str] = []
    with (
        store.guard(make_guard("key")),
        pytest.raises(BlockingIOError),
        store.guard(make_guard("key"), wait=False),
    ):
        pass
    with store.guard(make_guard("key"), on_wait=lambda: waits.append("waits")):
        pass
    assert waits == []
