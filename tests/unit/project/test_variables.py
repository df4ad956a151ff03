from __future__ import annotations

from pathlib import Path

import pytest

from dcf.errors import ConfigError, SecretNotFound
from dcf.model.function import FunctionSpec
from dcf.project.variables import resolve_environment


def resolve(folder: Path, *files: str, **environment: str) -> dict[str, str]:
    spec = FunctionSpec("f", environment_file=files, environment=environment)
    return resolve_environment(spec, folder, folder / "secrets").environment


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.env", "", {}),
        ("a.env", "A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ("a.env", "# note\n\n  # more\nA=1", {"A": "1"}),
        ("a.env", "export A=1\nexport   B=2\nexported=3", {"A": "1", "B": "2", "exported": "3"}),
        (
            "a.env",
            "A='x y'\nB=\"z\"\nC=it's\nD=''\nE=",
            {"A": "x y", "B": "z", "C": "it's", "D": "", "E": ""},
        ),
        ("a.env", "A = 1 \r\nB=c=d#e # f\r\n", {"A": "1", "B": "c=d#e # f"}),
        ("a.env", "\ufeffA=1\nA=2\n", {"A": "2"}),
        (".env", "A=\ud558\ub098\u2028x\x0cy\n", {"A": "\ud558\ub098\u2028x\x0cy"}),
        ("a.yaml", "", {}),
        (
            "a.yml",
            "A: 1\nB: 1.10\nC: yes\nD: ''\nE:\n",
            {"A": "1", "B": "1.10", "C": "yes", "D": ""},
        ),
        ("a.YAML", "environment:\n  A: 1\n", {"A": "1"}),
        ("a.yaml", "environment: here\n", {"environment": "here"}),
        ("a.yaml", "a: &x 1\nb: *x\n", {"a": "1", "b": "1"}),
    ],
)
def test_files(tmp_path: Path, name: str, text: str, expected: dict[str, str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")

    assert resolve(tmp_path, name) == expected


def test_later_files_win_and_the_map_wins_over_all(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nB=1\nC=1\n")
    (tmp_path / "b.yaml").write_text("B: 2\nC: 2\n")

    resolved = resolve(tmp_path, "a.env", str(tmp_path / "b.yaml"), C="3")

    assert resolved == {"A": "1", "B": "2", "C": "3"}


@pytest.mark.parametrize(
    ("name", "data", "places", "said"),
    [
        ("a.env", b"A=1\n  hunter2\n", [(2, 3)], "got a line without '='"),
        (
            "a.env",
            b"hunter2==\nA=1\nB hunter2=3\n",
            [(3, 1)],
            "expected the name of a variable before '='",
        ),
        ("a.env", b"DCF_A=hunter2\n=hunter2\n", [(1, 1), (2, 1)], "DCF_"),
        ("a.env", b"A='hunter2\n", [(1, 1)], "expected the closing quote"),
        ("a.env", b"A='hunter2' # x\n", [(1, 1)], "expected the closing quote"),
        ("a.env", b"A='\n", [(1, 1)], "expected the closing quote"),
        ("a.env", b"A=hunter2\0\n", [(1, 1)], "must not contain NUL"),
        ("a.env", b"A=hunter2\xff\n", [(1, 10)], "UTF-8"),
        ("a.yaml", b"- hunter2\n", [(1, 1)], "mapping of variables"),
        ("a.yaml", b"hunter2\n", [(1, 1)], "mapping of variables"),
        ("a.yaml", b"A: [hunter2]\nB: {hunter2: x}\n", [(1, 4), (2, 4)], "mapping of variables"),
        ("a.yaml", b"A: 1\nhunter-2: x\n", [(2, 1)], "mapping of variables"),
        ("a.yaml", b"A: hunter2\nA: hunter2\n", [(2, 1)], "each variable once"),
        ("a.yaml", b"A: *hunter2\n", [(1, 4)], "mapping of variables"),
        ("a.yaml", b"A: &hunter2 [*hunter2]\n", [(1, 14)], "mapping of variables"),
        ("a.yaml", b"A: !hunter2 x\n", [(1, 4)], "mapping of variables"),
        ("a.yaml", b"A: hunter2: x\n", [(1, 11)], "mapping of variables"),
        ("a.yaml", b"A: hunter2\xff\n", [(1, 11)], "mapping of variables"),
    ],
)
def test_a_faulty_file_shows_its_places_and_none_of_its_content(
    tmp_path: Path, name: str, data: bytes, places: list[tuple[int, int]], said: str
) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, name)

    assert caught.value.path == tmp_path / name
    assert [(problem.line, problem.column) for problem in caught.value.problems] == places
    assert said in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_missing_file_is_named_with_its_expected_place(tmp_path: Path) -> None:
    with pytest.raises(SecretNotFound) as caught:
        resolve(tmp_path, "a/b.env")

    assert (caught.value.name, caught.value.expected) == ("a/b.env", tmp_path / "a" / "b.env")


def test_a_folder_is_no_environment_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a file, got a folder"):
        resolve(tmp_path, ".")


def test_secrets_are_found_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    spec = FunctionSpec("f", secrets=("key",), environment={"A": "hunter2"})

    resolved = resolve_environment(spec, tmp_path / "elsewhere", tmp_path)

    assert resolved.secrets == {"key": tmp_path / "key"}
    assert "hunter2" not in repr(resolved)


@pytest.mark.parametrize("name", ["none", "folder"])
def test_a_missing_secret_is_named_with_its_expected_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(SecretNotFound) as caught:
        resolve_environment(FunctionSpec("f", secrets=(name,)), tmp_path, tmp_path)

    assert (caught.value.name, caught.value.expected) == (name, tmp_path / name)
