"""Files that are written as a whole."""

from __future__ import annotations

import os
import stat

import pytest

from dcf.files.atomic import create_file, open_private, replace_file, replacing


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_is_replaced_and_private(tmp_path, before, durable):
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    replace_file(path, "ä", durable=durable)
    assert path.read_bytes() == "ä".encode()
    assert mode(path) == 0o600
    assert names(tmp_path) == ["file"]


def test_the_mode_is_the_given_one_or_that_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "given", b"", mode=0o644)
        replace_file(tmp_path / "usual", b"", mode=None)
    finally:
        os.umask(before)
    assert mode(tmp_path / "given") == 0o644
    assert mode(tmp_path / "usual") == 0o640


def test_the_temporary_file_may_lie_elsewhere(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with replacing(tmp_path / "file", scratch=scratch) as file:
        assert names(tmp_path) == ["scratch"]
        assert len(names(scratch)) == 1
        file.write(b"new")
    assert not names(scratch)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_created_file_is_never_replaced(tmp_path):
    path = tmp_path / "secret"
    assert create_file(path, b"first")
    assert not create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert mode(path) == 0o600
    assert names(tmp_path) == ["secret"]


def test_a_private_file_keeps_its_content(tmp_path):
    path = tmp_path / "lock"
    for _ in range(2):
        descriptor = open_private(path)
        assert not os.get_inheritable(descriptor)
        os.write(descriptor, b"x")
        os.close(descriptor)
    assert path.read_bytes() == b"x"
    assert mode(path) == 0o600
    with pytest.raises(FileExistsError):
        open_private(path, os.O_EXCL)
