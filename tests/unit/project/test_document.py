from __future__ import annotations

from pathlib import Path

import pytest

from dcf.errors import ConfigError
from dcf.project.config import load_config
from dcf.project.document import MAX_BYTES, MAX_DEPTH


def problem(path: Path) -> tuple[int, int, str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (only,) = caught.value.problems
    assert caught.value.path == path
    return only.line, only.column, only.message


def test_a_missing_file(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.yaml") == (0, 0, "file not found")


def test_a_folder(tmp_path: Path) -> None:
    assert problem(tmp_path) == (0, 0, "expected a file, got a folder")


def test_a_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "cannot be read" in problem(tmp_path / "file" / "config.yaml")[2]


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        (b"functions:\n  \xff\xfe: 1\n", (2, 3), "0xff"),
        ("functions:\n  가: ".encode() + b"\xff", (2, 6), "UTF-8"),
        (b"functions:\n  f: a\x07b\n", (2, 7), "U+0007"),
        (b"functions:\0\n", (1, 11), "U+0000"),
        (b"functions:\n\tf: 1\n", (2, 1), "invalid YAML"),
        (b"functions: {f: 1\n", (2, 1), "invalid YAML"),
        (b"a: b: c\n", (1, 5), "invalid YAML"),
        ("가나: b: c\n".encode(), (1, 6), "invalid YAML"),
        (b"a: 'x\n", (2, 1), "invalid YAML"),
        (b"a: 1\n---\nb: 2\n", (2, 1), "another document"),
        (b"a: *x\n", (1, 4), "undefined alias"),
        (b"a: &x [*x]\n", (1, 8), "'*x' is inside its own anchor"),
        (b"a: &x {<<: *x}\n", (1, 12), "'*x' is inside its own anchor"),
        (b"a: &x\n  b: &y\n    c: *x\n", (3, 8), "'*x'"),
        (b"a: " + b"[" * 500 + b"]" * 500, (1, 23), "nested levels, got more"),
        (b"- " * 5000, (1, 41), "nested levels, got more"),
        (b"a: " + b"{a: " * 200_000, (1, 77), "nested levels, got more"),
        (b"a: 1\n" * (MAX_BYTES // 5 + 1), (0, 0), "expected at most 1048576 bytes, got more"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, data: bytes, place: tuple[int, int], said: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)

    line, column, message = problem(path)

    assert (line, column) == place
    assert said in message


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbffunctions:\r\n  f:\r\n    desc: x\r\n")

    assert load_config(path).functions["f"].desc == "x"


def test_aliases_that_grow_without_bound_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(levels), encoding="utf-8")

    line, _, message = problem(path)

    assert line == 5
    assert "with all aliases expanded, got more" in message


def test_many_uses_of_one_large_mapping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    variables = ", ".join(f"V{n}: 1" for n in range(5000))
    uses = "".join(f"  f{n}: {{environment: *e}}\n" for n in range(5000))
    text = f"functions:\n  f: {{environment: &e {{{variables}}}}}\n{uses}"
    path.write_text(text, encoding="utf-8")

    assert "with all aliases expanded, got more" in problem(path)[2]


def test_depth_counts_through_aliases(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    levels = ["l0: &l0 [x]"] + [f"l{n}: &l{n} [*l{n - 1}]" for n in range(1, MAX_DEPTH)]
    path.write_text("\n".join(levels), encoding="utf-8")

    assert "nested levels, got more" in problem(path)[2]


def test_depth_that_libyaml_refuses_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: " + b"[" * 5000 + b"]" * 5000)

    assert "nest" in problem(path)[2]


def test_every_character_of_the_basic_plane_is_read_or_refused_with_its_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.yaml"
    for code in [*range(0x300), *range(0x2000, 0x2100), 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x1F600]:
        path.write_text(f'functions: {{f: {{desc: "a{chr(code)}b"}}}}\n', encoding="utf-8")
        try:
            load_config(path)
        except ConfigError as error:
            assert error.problems[0].line, hex(code)  # noqa: PT017  either outcome is right
