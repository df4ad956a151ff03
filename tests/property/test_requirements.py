"""Every requirements.txt and every pip setting is parsed, or rejected with its line."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dcf.builder.lock import Lock
from dcf.builder.pip_settings import pip_settings
from dcf.builder.requirement_lines import LineInvalid, logical_lines
from dcf.builder.requirements import local_path, read_requirements
from dcf.errors import RequirementsInvalid
from property.trying import attempt

NAMES = ("requirements.txt", "base.txt", "more/other.txt")
PIECES = st.sampled_from(
    [
        *("-r", "--requirement", "-c", "-e", "--editable", "-f", "--find-links", "-i", "--pre"),
        *("--index-url", "--extra-index-url", "--no-index", "--no-binary", "--trusted-host", "-"),
        *("--hash", "--hash=sha256:0", "=", " ", "  ", "\t", "\\", "\\\n", "\r\n", "\n", "#", ";"),
        *("numpy", "==1", "[x]", "[", "]", "@", " @ ", "dcframework", "DCF.Runtime", ":all:"),
        *(".", "..", "/", "./pkg", "../out", "~", "~/x", "${HOME}", "file:", "file://", "://"),
        *("https://a/b", "a.whl", "x.tar.gz", "base.txt", "requirements.txt", "more/other.txt"),
        *("\0", "\x0c", "\u2028", "\ufeff", "é", "x" * 300, "python_version<'3'"),
    ]
)
LINES = st.lists(PIECES, max_size=8).map("".join)
TEXTS = st.lists(LINES, max_size=6).map("\n".join)
CONTENTS = TEXTS.map(str.encode) | st.binary(max_size=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place: Path = tmp_path_factory.mktemp("function")
    for below in ("more", "pkg"):
        (place / below).mkdir()
    return place


@example([b"-r \0"])
@example([b"-r " + b"x" * 300])
@example([b"./" + b"x" * 300])
@example([b"-r base.txt", b"-r requirements.txt"])
@example([b"file:\0"])
@given(st.lists(CONTENTS, min_size=1, max_size=3))
def test_requirements_are_parsed_or_rejected_with_their_line(folder, contents) -> None:
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    for name, content in zip(NAMES, contents, strict=False):
        (folder / name).write_bytes(content)
    requirements, refusal = attempt(RequirementsInvalid, lambda: read_requirements(folder))
    if requirements is None:
        assert str(refusal)
        return
    assert requirements.exists
    assert not any("\n" in line for line in requirements.lines)
    for path, _ in requirements.local:
        assert not path.startswith("/")
        assert path.split("/")[0] != ".."


@given(TEXTS)
def test_a_logical_line_is_never_empty_and_has_its_number(text) -> None:
    count = len(text.splitlines())
    last = 0
    try:
        for number, line in logical_lines(text):
            assert line.strip() == line != ""
            assert last < number <= count
            last = number
    except LineInvalid as error:
        assert 0 < error.line <= count


@given(LINES | st.text(max_size=40))
def test_a_requirement_has_a_local_path_or_none(line) -> None:
    assert isinstance(local_path(line), str | None)


@given(TEXTS | st.text(max_size=100))
def test_a_lock_that_was_edited_is_parsed(text) -> None:
    lock = Lock(text)
    assert set(lock.packages) <= {line.rstrip(" \\") for line in lock.pins}
    assert all(isinstance(path, str) for path in lock.local)


@pytest.mark.parametrize("files", [30, 2000])
def test_includes_are_bounded(tmp_path, files) -> None:
    """Each file includes the next file. With 30 files it does so twice: a billion lines."""
    names = ["requirements.txt", *(f"{number}.txt" for number in range(files))]
    for name, following in zip(names, [*names[1:], ""], strict=True):
        line = f"-r {following}\n" if following else "numpy\n"
        (tmp_path / name).write_text(line * (2 if files == 30 else 1))
    with pytest.raises(RequirementsInvalid, match="line 1: "):
        read_requirements(tmp_path)


OPTIONS = st.sampled_from(
    [
        *("[global]", "[install]", "[", "]", "[DEFAULT]", "index-url", "extra_index_url", "cert"),
        *("find-links", "no-index", "trusted-host", "=", ":", " ", "\n", "\n ", "\r\n", "%", "%("),
        *("https://a/b", "~/x", "~", "\\1", "\\", "/", "true", "\0", "é", "#", ";", "x" * 300),
    ]
)
CONFIGURATIONS = st.lists(OPTIONS, max_size=14).map(lambda parts: "".join(parts).encode())
VARIABLES = st.dictionaries(
    st.sampled_from(
        [
            *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT"),
            *("PIP_TRUSTED_HOST", "PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_STRATEGY"),
        ]
    ),
    st.lists(OPTIONS.filter(lambda text: "\0" not in text), max_size=4).map("".join),
)


@example(b"[global]\nfind-links = \0", {})
@example(b"[global]\nfind-links = " + b"x" * 300, {})
@example(b"[global]\nindex-url = https://a/\0", {})
@given(CONFIGURATIONS | st.binary(max_size=60), VARIABLES)
def test_pip_settings_become_valid_variables_of_a_process(folder, content, env) -> None:
    file = folder / "pip.conf"
    file.write_bytes(content)
    settings = pip_settings(env, [file])
    assert isinstance(settings.no_index, bool)
    for name, value in settings.variables.items():
        assert name.isascii()
        assert value
        assert "\0" not in value
