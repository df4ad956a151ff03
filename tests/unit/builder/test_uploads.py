from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dcf.builder import uploads as module
from dcf.builder.announced import LOCK_LIMIT, PATH_LIMIT
from dcf.builder.prune import prune
from dcf.builder.store import Store
from dcf.builder.uploads import NOTE_LIFE, PART_LIFE, Uploads, part_path
from dcf.errors import BundleInvalid, UploadInvalid
from dcf.model.artifact import Bundle, BundleFile, digest_of
from dcf.model.status import Wanting
from unit.builder.kit import names

LOCK = "# a lock\n"
MODEL = os.urandom(5000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def uploads(store: Store) -> Uploads:
    return make(store)


def make(store: Store) -> Uploads:
    return Uploads(store, most_bytes=20_000, most_files=5)


def file(path: str, content: bytes = b"x", **changed) -> BundleFile:
    given = {"digest": digest_of(content), "size": len(content), **changed}
    return BundleFile(path, **given)


def send(uploads: Uploads, content: bytes, offset: int = 0, *, digest: str = "") -> bool:
    with uploads.receiving(digest or digest_of(content), offset) as part:
        part.write(content[offset:])
        return part.finish()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


# Announcing


def test_an_announcement_returns_each_missing_content_once(store: Store, uploads: Uploads) -> None:
    store.blobs.add([b"here"])
    files = [file("z", MODEL), file("a", b"here"), file("copy", MODEL)]
    announced = uploads.announce(files, LOCK)
    assert announced.bundle == Bundle(tuple(sorted(files))).digest
    assert announced.lock == digest_of(LOCK.encode())
    assert announced.missing == (Wanting(digest_of(MODEL), len(MODEL)),)
    assert store.bundle(announced.bundle).files == tuple(sorted(files))
    assert store.lock(announced.lock) == LOCK


def test_announcing_again_returns_what_is_still_missing(store: Store, uploads: Uploads) -> None:
    files = [file("a", MODEL), file("b", b"small")]
    uploads.announce(files, LOCK)
    send(uploads, b"small")
    with uploads.receiving(digest_of(MODEL), 0) as part:
        part.write(MODEL[:100])
    again = uploads.announce(files, LOCK)
    assert again.missing == (Wanting(digest_of(MODEL), len(MODEL), offset=100),)
    assert len(names(store.bundles)) == 1
    send(uploads, MODEL, 100)
    assert uploads.announce(files, LOCK).missing == ()


def test_an_empty_bundle_can_be_announced(uploads: Uploads) -> None:
    assert uploads.announce([], LOCK).missing == ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([file("../a")], "expected a path within a folder, got '../a'"),
        ([file("/etc/passwd")], "expected a path within a folder, got '/etc/passwd'"),
        ([file("a//b")], "expected a path within a folder, got 'a//b'"),
        ([file("a/./b")], "expected a path within a folder, got 'a/./b'"),
        ([file("")], "expected a path within a folder, got ''"),
        ([file("a\0b")], "expected a path within a folder, got"),
        ([file("a\udcff")], "expected a path in UTF-8, got"),
        ([file("ä" * 128)], "expected names of at most 255 bytes, got 256"),
        ([file("a/" * (PATH_LIMIT // 2) + "b")], "expected a path of at most 1024 bytes, got 1025"),
        ([file("a"), file("b"), file("a", b"y")], "expected each path once, got 'a' 2 times"),
        ([file("a"), file("a/b")], "'a/b': expected 'a' to be a folder, got a file"),
        ([file("a/b/c/d"), file("a/b")], "'a/b/c/d': expected 'a/b' to be a folder, got a file"),
        (
            [file("a", digest="sha256:12")],
            "a: expected a digest (sha256: and 64 lowercase hex digits), got 'sha256:12'",
        ),
        ([file("a", digest="sha256:" + "A" * 64)], "a: expected a digest"),
        ([file("a", digest="sha256:../../../../x")], "a: expected a digest"),
        ([file("a", digest=digest_of(b"x") + "\n")], "a: expected a digest"),
        ([file("a", size=-1)], "a: expected a size of 0 or more, got -1"),
        ([file("a"), file("b", size=7)], "b: expected 1 byte, as for another file"),
        (
            [file("a", size=19_999), file("b", b"yy")],
            "expected at most 20000 bytes in all, got 20001",
        ),
        ([file(str(number)) for number in range(6)], "expected at most 5 files, got 6"),
    ],
)
def test_files_that_cannot_form_a_bundle_are_rejected_and_leave_nothing(
    store: Store, uploads: Uploads, files: list[BundleFile], message: str
) -> None:
    with pytest.raises(BundleInvalid) as caught:
        uploads.announce(files, LOCK)
    assert message in str(caught.value)
    assert names(store.uploads) == names(store.bundles) == names(store.locks) == []


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ("a\0b", "the lock: expected text, got NUL at position 1"),
        ("ab\ud800", "the lock: expected text, got half of a character at position 2"),
        (
            "x" * (LOCK_LIMIT + 1),
            f"the lock: expected at most {LOCK_LIMIT} bytes, got {LOCK_LIMIT + 1}",
        ),
    ],
    ids=["nul", "surrogate", "long"],
)
def test_a_lock_that_is_not_text_is_rejected(uploads: Uploads, lock: str, message: str) -> None:
    with pytest.raises(BundleInvalid, match=message):
        uploads.announce([], lock)


def test_paths_may_be_in_any_language_and_differ_only_in_case(uploads: Uploads) -> None:
    files = [file("모델/Größe.bin"), file("a"), file("A"), file("a b\n"), file("x" * 255)]
    assert len(uploads.announce(files, LOCK).missing) == 1


def test_a_wrong_announced_size_removes_nothing(store: Store, uploads: Uploads) -> None:
    digest, _ = store.blobs.add([MODEL])
    announced = uploads.announce([file("a", MODEL, size=10)], LOCK)
    assert announced.missing == (Wanting(digest, 10),)
    with pytest.raises(UploadInvalid, match="which was deleted; send it again"):
        send(uploads, bytes(10), digest=digest)
    assert store.blobs.has(digest, len(MODEL))


# Receiving


def test_a_blob_arrives_in_chunks_of_any_size(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    digest = digest_of(MODEL)
    with uploads.receiving(digest, 0) as part:
        part.write(MODEL[:1])
        part.write(b"")
        part.write(MODEL[1:3000])
        assert not part.finish()
        assert part.offset == 3000
    assert not store.blobs.has(digest, len(MODEL))
    assert send(uploads, MODEL, 3000)
    assert store.blobs.path(digest).read_bytes() == MODEL
    assert store.blobs.path(digest).stat().st_mode & 0o777 == 0o444
    assert not part_path(store, digest).exists()


def test_an_empty_file_is_a_blob_too(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", b"")], LOCK)
    assert send(uploads, b"")
    assert store.blobs.has(digest_of(b""), 0)


def test_a_blob_that_is_complete_accepts_no_more_bytes(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    store.blobs.add([MODEL])
    with pytest.raises(UploadInvalid) as caught:
        send(uploads, MODEL)
    assert caught.value.offset == len(MODEL)
    assert send(uploads, MODEL, len(MODEL))


@pytest.mark.parametrize("offset", [0, 99, 101, -1, 10_000])
def test_a_wrong_offset_is_rejected_with_the_right_offset(uploads: Uploads, offset: int) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    digest = digest_of(MODEL)
    with uploads.receiving(digest, 0) as part:
        part.write(MODEL[:100])
    with pytest.raises(UploadInvalid, match="expected the bytes from 100 on") as caught:
        send(uploads, MODEL, offset)
    assert caught.value.offset == 100


def test_more_bytes_than_announced_are_rejected_and_the_earlier_bytes_stay(
    uploads: Uploads,
) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    digest = digest_of(MODEL)
    with uploads.receiving(digest, 0) as part:
        part.write(MODEL[:4000])
        with pytest.raises(
            UploadInvalid, match="expected 5000 bytes, as announced, got more"
        ) as caught:
            part.write(MODEL[4000:] + b"!")
    assert caught.value.offset == 4000
    assert send(uploads, MODEL, 4000)


@pytest.mark.parametrize("resumed", [False, True])
def test_content_with_another_digest_is_deleted(
    store: Store, uploads: Uploads, *, resumed: bool
) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    digest = digest_of(MODEL)
    wrong = bytes(len(MODEL))
    if resumed:
        with uploads.receiving(digest, 0) as part:
            part.write(wrong[:1000])
    with pytest.raises(UploadInvalid, match="which was deleted; send it again") as caught:
        send(uploads, wrong, 1000 if resumed else 0, digest=digest)
    assert caught.value.offset == 0
    assert not part_path(store, digest).exists()
    assert send(uploads, MODEL)


def test_only_announced_blobs_are_accepted(store: Store, uploads: Uploads) -> None:
    for digest in (digest_of(MODEL), "sha256:../../x", ""):
        with pytest.raises(UploadInvalid, match="was not announced"):
            send(uploads, b"", digest=digest or "?")
    assert names(store.uploads) == []


def test_the_second_sender_of_a_blob_is_rejected(uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    digest = digest_of(MODEL)
    with uploads.receiving(digest, 0) as part:
        part.write(MODEL[:10])
        with pytest.raises(UploadInvalid, match="another client is sending") as caught:
            send(uploads, MODEL, 10)
        assert caught.value.offset == 10
        part.write(MODEL[10:])
        assert part.finish()
    assert send(uploads, MODEL, len(MODEL))


def test_a_disconnected_sender_leaves_the_bytes_that_arrived(uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)

    def vanish() -> None:
        with uploads.receiving(digest_of(MODEL), 0) as part:
            part.write(MODEL[:10])
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        vanish()
    assert send(uploads, MODEL, 10)


def test_a_part_that_is_longer_than_announced_starts_over(uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL, size=9000)], LOCK)
    with uploads.receiving(digest_of(MODEL), 0) as part:
        part.write(bytes(8000))
    announced = uploads.announce([file("a", MODEL)], LOCK)
    assert announced.missing[0].offset == 0
    assert send(uploads, MODEL)


def test_many_announcements_are_all_remembered(uploads: Uploads) -> None:
    contents = [bytes([number]) for number in range(12)]
    for begin in range(0, 12, 4):
        files = [file(content.hex(), content) for content in contents[begin : begin + 4]]
        uploads.announce(files, LOCK)
    assert all(send(uploads, content) for content in contents)


def test_a_new_process_knows_what_was_announced(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL), file("b")], LOCK)
    uploads.announce([file("c", b"other")], LOCK)
    with uploads.receiving(digest_of(MODEL), 0) as part:
        part.write(MODEL[:10])
    again = make(store)
    assert send(again, MODEL, 10)
    assert send(again, b"other")
    assert send(again, b"x")


# Pruning


def test_pruning_keeps_an_announcement_for_an_hour(store: Store, uploads: Uploads) -> None:
    announced = uploads.announce([file("a", MODEL), file("b")], LOCK)
    send(uploads, b"x")
    (note,) = store.uploads.iterdir()
    age(note, NOTE_LIFE - 60)
    assert prune(store).items == ()
    age(note, NOTE_LIFE + 60)
    assert sorted(item.kind for item in prune(store).items) == ["blob", "bundle", "lock", "upload"]
    assert names(store.uploads) == []
    with pytest.raises(UploadInvalid, match="announce it again"):
        send(uploads, MODEL)
    assert len(uploads.announce([file("a", MODEL), file("b")], LOCK).missing) == 2
    assert len(store.bundle(announced.bundle).files) == 2


def test_arriving_bytes_renew_the_hour(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    (note,) = store.uploads.iterdir()
    age(note, NOTE_LIFE + 60)
    with uploads.receiving(digest_of(MODEL), 0) as part:
        part.write(MODEL[:10])
    assert prune(store).items == ()


def test_a_long_upload_renews_the_hour_while_it_runs(
    store: Store, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    (note,) = store.uploads.iterdir()
    monkeypatch.setattr(module, "TOUCH", 0.0)
    with uploads.receiving(digest_of(MODEL), 0) as part:
        age(note, NOTE_LIFE + 60)
        part.write(MODEL[:10])
        assert prune(store).items == ()


def test_a_part_stays_for_a_day(store: Store, uploads: Uploads) -> None:
    uploads.announce([file("a", MODEL)], LOCK)
    with uploads.receiving(digest_of(MODEL), 0) as part:
        part.write(MODEL[:10])
    path = part_path(store, digest_of(MODEL))
    age(path, PART_LIFE - 60)
    assert prune(store).items == ()
    age(path, PART_LIFE + 60)
    announced = prune(store, dry_run=True)
    assert [(item.kind, item.name, item.size) for item in announced.items] == [
        ("upload", path.stem, 10)
    ]
    prune(store)
    assert not path.exists()
    assert send(uploads, MODEL)


def test_a_damaged_note_is_skipped(store: Store, uploads: Uploads) -> None:
    (store.uploads / "x.json").write_text("[")
    (store.uploads / "y.json").write_text('{"bundle": "sha256:../x", "lock": ""}')
    with pytest.raises(UploadInvalid):
        send(uploads, MODEL)
    assert prune(store).items == ()
