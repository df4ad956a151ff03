"""Ignore files have the same meaning as for git, for any content."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcf.builder.bundle import find_files
from dcf.builder.gitignore import Patterns, lines_of
from dcf.builder.ignore import IgnoreRules
from dcf.errors import BundleInvalid

PIECES = st.sampled_from(
    [
        *("a", "b", "ab", "build", "foo", "x", "é", ".", "-", "]", "[", "!", "^", "#", " ", "\t"),
        *("*", "**", "***", "?", "/", "**/", "/**", "/**/", "\\", "\\/", "\\ ", "\\*", "\\#"),
        *("[a-c]", "[!a]", "[^b]", "[]a]", "[a-", "[a-[x]]", "[[:alpha:]]", "[[:nope:]]"),
        *("[[:punct:]]", "[[:", "[c-a]", "[\\]]", "[a\\-c]", "[/]", "[!/]", "\r", "\x7f", "\x01"),
    ]
)
GIT = ("git", "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false")
PATTERNS = st.lists(PIECES, min_size=1, max_size=7).map("".join)
PARTS = st.lists(
    st.sampled_from([*"abcx][!#-\\ *^é", "ab", "build", "foo"]),
    min_size=1,
    max_size=3,
).map("".join)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
CONTENTS = st.lists(PATTERNS, max_size=5).map(lambda lines: "\n".join(lines).encode()) | st.binary(
    max_size=40
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git, with which the patterns are compared, is not installed")
    place: Path = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", place], check=True, capture_output=True)
    return place


def ignored_by_git(repository: Path, content: bytes, paths: list[str]) -> set[str]:
    (repository / ".gitignore").write_bytes(content)
    done = subprocess.run(
        [*GIT, "check-ignore", "--no-index", "--stdin", "-z"],
        input=b"\0".join(map(os.fsencode, paths)) + b"\0",
        cwd=repository,
        env={"PATH": os.environ["PATH"], "HOME": str(repository), "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


@example(b"build\\", ["build", "build\\", "build/a"])
@example(b"!\n", ["a"])
@example(b"foo\\/", ["foo/a", "foo\\/a"])
@example(b"[a-[x]]", ["x]", "a", "[", "a]", "]"])
@example(b"a\n!a/b\n", ["a/b", "a"])
@example(b"foo**/bar\nab/c**\n", ["foox/y/bar", "foobar", "ab/cx/y"])
@example(b"\xef\xbb\xbfa\r\nb\r\n#c\r\n\\#c", ["a", "b", "#c", "c"])
@example(b"\xff\n[\x80-\xff]\n?", ["\udcff", "é", "\udc80", "a"])
@example(b"a  \nb\\ \n/\n//\nc\0d", ["a", "a  ", "b ", "c", "cd"])
@given(CONTENTS, st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_a_line_has_the_same_meaning_as_for_git(repository, content, paths) -> None:
    rules = IgnoreRules(lines_of(content))
    ours = {path for path in paths if rules._matches(path, is_folder=False)}
    assert ours == ignored_by_git(repository, content, paths)


@given(CONTENTS | st.binary(max_size=200), PATHS, st.booleans())
def test_no_line_stops_a_build(content, path, docker) -> None:
    rules = IgnoreRules(lines_of(content), docker=docker)
    assert isinstance(rules.leaves_out_file(path), bool)
    assert isinstance(rules.leaves_out_folder(path), bool)


@pytest.mark.parametrize(
    "pattern", [b"*a" * 60 + b"b", b"**/a/" * 60 + b"b", b"[a-c]*" * 60 + b"d"]
)
def test_many_stars_cost_no_more_than_their_number(pattern) -> None:
    patterns = Patterns([pattern])
    for path in (b"a" * 250, b"a/" * 1000 + b"a"):
        assert patterns.last_match(path, is_folder=False) is None


@pytest.mark.parametrize("name", [".dcfignore", ".dockerignore", ".gitignore"])
def test_an_ignore_file_that_is_not_a_file_is_rejected_or_counts_as_missing(tmp_path, name) -> None:
    place, other = tmp_path / name, tmp_path / "data"
    other.write_bytes(b"x")
    place.mkdir()
    assert [file.path for file in find_files(tmp_path)] == ["data"]
    place.rmdir()
    os.mkfifo(place)
    with pytest.raises(BundleInvalid, match="expected a file or a link to a file, got a pipe"):
        IgnoreRules.of(tmp_path)
    place.unlink()
    place.symlink_to(name)
    with pytest.raises(BundleInvalid, match="cannot be read"):
        IgnoreRules.of(tmp_path)
    place.unlink()
    place.write_bytes(b"a\n" * 2**21 + b"b")
    with pytest.raises(BundleInvalid, match="expected an ignore file of at most 4194304 bytes"):
        IgnoreRules.of(tmp_path)
    place.write_bytes(b"\xff\xfe\n" + "données".encode("latin-1") + b"\ndata\n")
    assert IgnoreRules.of(tmp_path).leaves_out_file("data")


def test_a_long_list_of_names_costs_little_for_each_path(tmp_path) -> None:
    names = [f"file-{number}\n" for number in range(100_000)]
    (tmp_path / ".gitignore").write_text("".join([*names, "*.tmp\n", "!file-7\n"]))
    rules = IgnoreRules.of(tmp_path)
    began = time.process_time()
    for number in range(2000):
        assert rules.leaves_out_file(f"file-{number}") == (number != 7)
    assert time.process_time() - began < 2
