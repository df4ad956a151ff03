from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcf.builder import bundle as module
from dcf.builder.bundle import FileStats, Found, Reading, find_files, read_folder
from dcf.builder.store import Store
from dcf.errors import BundleInvalid
from unit.builder.kit import Heard


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    place.mkdir()
    return place


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def paths(folder: Path) -> list[str]:
    return sorted(file.path for file in find_files(folder))


def read(folder: Path, store: Store, known: FileStats | None = None) -> Reading:
    return read_folder(folder, store.blobs, known or {}, Heard())


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files that were just written count as written long before they are read."""
    for name in ("RACY_NS", "COARSE_RACY_NS"):
        monkeypatch.setattr(module, name, -10_000_000_000)


def test_a_private_file_is_excluded_under_every_path(
    folder: Path, store: Store, tmp_path: Path
) -> None:
    write(folder, **{".env.prod": "A=1", "src__x": "y", "conf__more.env": "B=2"})
    write(tmp_path, **{"outside.env": "C=3"})
    (folder / "link").symlink_to(".env.prod")
    (folder / "src/linked").symlink_to(folder / "conf")
    os.link(folder / ".env.prod", folder / "src/hard")
    (folder / "far").symlink_to(tmp_path / "outside.env")
    private = [
        folder / ".env.prod",
        folder / "src/../conf/more.env",
        tmp_path / "outside.env",
        folder / "missing.env",
    ]
    reading = read_folder(folder, store.blobs, {}, Heard(), private)

    assert [file.path for file in reading.bundle.files] == ["src/x"]
    assert [path.read_text() for path in store.blobs.all()] == ["y"]


def test_a_bundle_has_content_and_mode(folder: Path, store: Store) -> None:
    write(folder, a="one", src__b="two")
    (folder / "a").chmod(0o755)
    files = read(folder, store).bundle.files
    assert [(file.path, file.size, file.executable) for file in files] == [
        ("a", 3, True),
        ("src/b", 3, False),
    ]
    assert store.blobs.path(files[0].digest).read_text() == "one"


def test_a_changed_line_changes_one_blob(folder: Path, store: Store) -> None:
    write(folder, model="m" * 100, handler="x = 1\n")
    before = {file.path: file.digest for file in read(folder, store).bundle.files}
    write(folder, handler="x = 2\n")
    after = {file.path: file.digest for file in read(folder, store).bundle.files}
    assert before["model"] == after["model"]
    assert before["handler"] != after["handler"]
    assert len(list(store.blobs.all())) == 3


def test_equal_folders_make_equal_bundles(tmp_path: Path, store: Store) -> None:
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, b="2", a="1", c__d="3")
        digests.add(read(tmp_path / name, store).bundle.digest)
    assert len(digests) == 1


def test_what_is_always_excluded(folder: Path) -> None:
    write(
        folder,
        keep="",
        src__keep="",
        **{
            ".git__HEAD": "",
            "src__pycache": "",
            "requirements.lock": "",
            "src__requirements.lock": "",
            ".venv__bin": "",
            ".dcf-note": "",
            "a.pyc": "",
            "my_env__pyvenv.cfg": "",
            "my_env__lib": "",
            "config.yaml": "",
        },
    )
    (folder / "src" / "__pycache__").mkdir()
    (folder / "src" / "__pycache__" / "x").touch()
    assert paths(folder) == [
        "config.yaml",
        "keep",
        "src/keep",
        "src/pycache",
        "src/requirements.lock",
    ]


def test_gitignore_follows_gits_rules(folder: Path) -> None:
    write(folder, a__x="", a__y="", b__a__x="", c__y="", **{"x.log": "", "keep.log": ""})
    write(folder, **{".gitignore": "a/\n!a/y\n*.log\n!keep.log\n/y\n"})
    assert paths(folder) == [".gitignore", "c/y", "keep.log"]


def test_dockerignore_follows_dockers_rules(folder: Path) -> None:
    write(
        folder, a__x="", a__y="", b__a__x="", **{"x.log": "", "b__x.log": "", "deep__c__x.tmp": ""}
    )
    write(folder, **{".dockerignore": "# comment\na\n!a/y\n*.log\n**/*.tmp\n.dockerignore\n"})
    assert paths(folder) == ["a/y", "b/a/x", "b/x.log"]


def test_the_first_ignore_file_applies(folder: Path) -> None:
    write(folder, model="")
    write(folder, **{".dcfignore": "", ".dockerignore": "model", ".gitignore": "model"})
    assert "model" in paths(folder)
    (folder / ".dcfignore").unlink()
    assert "model" not in paths(folder)


def test_links_are_followed(folder: Path, tmp_path: Path, store: Store) -> None:
    write(tmp_path, elsewhere__model="weights", elsewhere__more__x="x")
    (folder / "model").symlink_to(tmp_path / "elsewhere" / "model")
    (folder / "more").symlink_to(tmp_path / "elsewhere" / "more")
    files = read(folder, store).bundle.files
    assert [(file.path, file.size) for file in files] == [("model", 7), ("more/x", 1)]


def test_a_dangling_link_is_named(folder: Path) -> None:
    (folder / "model").symlink_to("/nowhere/model")
    message = "model: expected a file, got a link to /nowhere/model, which does not exist"
    with pytest.raises(BundleInvalid, match=message):
        paths(folder)


def test_a_link_to_a_parent_folder_is_named(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "again").symlink_to(folder)
    message = "src/again: expected a folder, got a link to a folder that contains it"
    with pytest.raises(BundleInvalid, match=message):
        paths(folder)


def test_two_links_that_name_each_other_are_named(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(BundleInvalid, match="cannot be read"):
        paths(folder)


def test_an_excluded_dangling_link_is_ignored(folder: Path) -> None:
    (folder / "model").symlink_to("/nowhere/model")
    write(folder, **{".dcfignore": "model"})
    assert paths(folder) == []


def test_pipes_and_sockets_are_named(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleInvalid, match=r"^pipe: expected a file, got a pipe or a device"):
        paths(folder)
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        with pytest.raises(BundleInvalid, match=r"^socket: expected a file, got a socket"):
            paths(folder)


def test_a_name_that_is_not_utf8_is_named(folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).touch()
    except OSError:
        pytest.skip("this file system accepts only UTF-8 names")
    with pytest.raises(BundleInvalid, match=r"expected a name in UTF-8, got 'caf\\udce9'"):
        paths(folder)


def test_an_unchanged_file_is_not_read_again(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    write(folder, a="one", b="two")
    first = read(folder, store)
    assert first.read == 2
    second = read(folder, store, first.stats)
    assert (second.read, second.bundle, second.stats) == (0, first.bundle, first.stats)
    write(folder, b="TWO")
    third = read(folder, store, first.stats)
    assert third.read == 1
    assert third.bundle != first.bundle


def test_a_file_that_just_changed_is_read_again(folder: Path, store: Store) -> None:
    write(folder, a="one")
    first = read(folder, store)
    # The worst case: the same size, the same inode and the same times, another content.
    (folder / "a").write_text("ONE")
    status = (folder / "a").stat()
    entry = first.stats["a"]
    entry[1], entry[2] = status.st_mtime_ns, status.st_ctime_ns
    second = read(folder, store, first.stats)
    assert second.read == 1
    assert second.bundle != first.bundle


def test_a_change_with_an_old_time_stamp_is_detected(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    write(folder, a="one")
    os.utime(folder / "a", ns=(1, 1))
    first = read(folder, store)
    time.sleep(0.02)  # the file system's clock moves in steps
    write(folder, a="ONE")
    os.utime(folder / "a", ns=(1, 1))
    assert read(folder, store, first.stats).bundle != first.bundle


def test_a_file_whose_blob_is_lost_is_read_again(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    write(folder, a="one")
    first = read(folder, store)
    store.blobs.path(first.bundle.files[0].digest).unlink()
    assert read(folder, store, first.stats).read == 1
    assert store.blobs.path(first.bundle.files[0].digest).read_text() == "one"


def test_a_file_that_changes_while_it_is_read_is_read_again(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, a="first")
    real = module._chunks
    calls: list[str] = []

    def disturbed(file: Found) -> Iterator[bytes]:
        calls.append(file.path)
        if len(calls) == 1:
            (folder / "a").write_text("second content")
        return real(file)

    monkeypatch.setattr(module, "_chunks", disturbed)
    files = read(folder, store).bundle.files
    assert store.blobs.path(files[0].digest).read_text() == "second content"
    assert len(calls) == 2


def test_a_file_that_keeps_changing_is_named(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, a="x")
    real = module._chunks

    def disturbed(file: Found) -> Iterator[bytes]:
        with file.place.open("a") as growing:
            growing.write("x")
        return real(file)

    monkeypatch.setattr(module, "_chunks", disturbed)
    with pytest.raises(BundleInvalid, match="got changes of a in 3 attempts"):
        read(folder, store)
    assert list(store.scratch.iterdir()) == []


def test_a_vanished_file_is_skipped(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, a="x", swap="y")
    real = module._chunks

    def disturbed(file: Found) -> Iterator[bytes]:
        (folder / "swap").unlink(missing_ok=True)
        return real(file)

    monkeypatch.setattr(module, "_chunks", disturbed)
    assert [file.path for file in read(folder, store).bundle.files] == ["a"]
