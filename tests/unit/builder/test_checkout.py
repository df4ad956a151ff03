from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from dcf.builder import checkout as module
from dcf.builder.bundle import read_folder
from dcf.builder.checkout import checkout
from dcf.builder.store import Store
from dcf.errors import BundleInvalid, DiskFull, StorageError
from dcf.model.artifact import Bundle, BundleFile
from unit.builder.kit import Heard


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def stored(store: Store, path: str, content: bytes, *, executable: bool = False) -> BundleFile:
    digest, size = store.blobs.add([content])
    return BundleFile(path, digest, size, executable)


def put(store: Store, *files: BundleFile) -> str:
    return store.put_bundle(Bundle(tuple(sorted(files))))


def test_a_bundle_is_laid_out_as_the_folder_it_was_made_of(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "c").write_text("one")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "empty").touch()
    bundle = read_folder(source, store.blobs, {}, Heard()).bundle
    checkout(store, store.put_bundle(bundle), tmp_path / "out")
    again = read_folder(tmp_path / "out", store.blobs, {}, Heard()).bundle
    assert again == bundle
    assert (tmp_path / "out" / "a" / "b" / "c").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out" / "run").stat().st_mode & 0o777 == 0o755


def test_small_files_are_copies_and_large_ones_are_shared(store: Store, tmp_path: Path) -> None:
    large = stored(store, "model", bytes(module.COPY_LIMIT + 1))
    tool = stored(store, "tool", bytes(module.COPY_LIMIT + 2), executable=True)
    small = stored(store, "small", b"1")
    checkout(store, put(store, large, small, tool), tmp_path / "out")
    assert (tmp_path / "out" / "model").samefile(store.blobs.path(large.digest))
    assert (tmp_path / "out" / "model").stat().st_mode & 0o777 == 0o444
    assert not (tmp_path / "out" / "small").samefile(store.blobs.path(small.digest))
    assert os.access(tmp_path / "out" / "tool", os.X_OK)


def test_files_are_copied_if_links_cannot_be_made(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    large = stored(store, "model", bytes(module.COPY_LIMIT + 1))
    checkout(store, put(store, large), tmp_path / "out")
    assert (tmp_path / "out" / "model").stat().st_nlink == 1


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b", "", ".", "a/.", "a\0b"])
def test_paths_stay_in_the_folder(store: Store, tmp_path: Path, path: str) -> None:
    digest = put(store, stored(store, "fine", b"1"), stored(store, path, b"1"))
    with pytest.raises(BundleInvalid, match="expected a path within a folder, got"):
        checkout(store, digest, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]


def test_an_existing_destination_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError, match="already exists"):
        checkout(store, put(store), tmp_path / "out")


def test_a_missing_blob_leaves_nothing(store: Store, tmp_path: Path) -> None:
    lost = stored(store, "lost", b"1")
    digest = put(store, stored(store, "here", b"2"), lost)
    store.blobs.path(lost.digest).unlink()
    with pytest.raises(StorageError, match="content of lost"):
        checkout(store, digest, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]


def test_a_damaged_model_is_not_laid_out(store: Store, tmp_path: Path) -> None:
    large = stored(store, "model", bytes(module.COPY_LIMIT + 1))
    digest = put(store, large)
    checkout(store, digest, tmp_path / "out")
    (tmp_path / "out" / "model").chmod(0o644)
    (tmp_path / "out" / "model").write_bytes(b"\1" * large.size)
    with pytest.raises(StorageError, match="content of model"):
        checkout(store, digest, tmp_path / "again")


def test_a_full_disk_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    digest = put(store, stored(store, "a", b"1"))
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFull, match="out"):
        checkout(store, digest, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]
