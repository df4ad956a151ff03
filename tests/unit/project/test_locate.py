from __future__ import annotations

from pathlib import Path

import pytest

from dcf.errors import ConfigError, FunctionAmbiguous, FunctionNotFound, InvalidName
from dcf.project.locate import locate


def make(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"functions: {{{', '.join(f'{name}: ' for name in names)}}}\n")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with functions in many shapes; the config.yaml beside them is made by the test."""
    make(tmp_path / "hello" / "config.yaml", "hello")
    make(tmp_path / "hello" / "prod.yaml", "hello")
    make(tmp_path / "odd" / "config.yaml", "greeter")
    make(tmp_path / "pair" / "config.yaml", "pair", "other")
    make(tmp_path / "duo" / "config.yaml", "one", "two")
    make(tmp_path / "My_Fn" / "config.yaml", "mine")
    make(tmp_path / "deep" / "er" / "config.yaml", "deeper")
    (tmp_path / "hello" / "src").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "config", "where", "file", "name"),
    [
        ("hello", None, ".", "hello/config.yaml", "hello"),
        ("hello/", None, ".", "hello/config.yaml", "hello"),
        ("./hello", None, ".", "hello/config.yaml", "hello"),
        ("hello/config.yaml", None, ".", "hello/config.yaml", "hello"),
        ("hello/prod.yaml", None, ".", "hello/prod.yaml", "hello"),
        ("config.yaml", None, "hello", "hello/config.yaml", "hello"),
        (".", None, "hello", "hello/config.yaml", "hello"),
        ("..", None, "hello/src", "hello/config.yaml", "hello"),
        ("../hello", None, "empty", "hello/config.yaml", "hello"),
        ("deep/er", None, ".", "deep/er/config.yaml", "deeper"),
        ("odd", None, ".", "odd/config.yaml", "greeter"),
        ("My_Fn", None, ".", "My_Fn/config.yaml", "mine"),
        ("pair", None, ".", "pair/config.yaml", "pair"),
        ("./pair", None, ".", "pair/config.yaml", "pair"),
        ("other", None, "pair", "pair/config.yaml", "other"),
        (None, None, "hello", "hello/config.yaml", "hello"),
        ("hello", None, "hello", "hello/config.yaml", "hello"),
        (None, "hello/config.yaml", ".", "hello/config.yaml", "hello"),
        (None, "prod.yaml", "hello", "hello/prod.yaml", "hello"),
        ("hello", "hello/config.yaml", ".", "hello/config.yaml", "hello"),
        ("hello", "hello/prod.yaml", ".", "hello/prod.yaml", "hello"),
        ("./hello", "hello/prod.yaml", ".", "hello/prod.yaml", "hello"),
        ("other", "pair/config.yaml", ".", "pair/config.yaml", "other"),
        ("odd", "odd/config.yaml", ".", "odd/config.yaml", "greeter"),
        ("My_Fn", "My_Fn/config.yaml", ".", "My_Fn/config.yaml", "mine"),
        (".", "config.yaml", "odd", "odd/config.yaml", "greeter"),
        ("hello/config.yaml", "hello/config.yaml", ".", "hello/config.yaml", "hello"),
    ],
)
def test_what_is_found(
    tree: Path, argument: str | None, config: str | None, where: str, file: str, name: str
) -> None:
    located = locate(argument, Path(config) if config else None, tree / where)

    assert located.config.path.resolve() == (tree / file).resolve()
    assert located.folder.resolve() == (tree / file).parent.resolve()
    assert located.spec is located.config.functions[name]


def test_an_absolute_config_path(tree: Path) -> None:
    assert locate("two", tree / "duo" / "config.yaml", tree).spec.name == "two"


@pytest.mark.parametrize(
    ("argument", "config", "where", "said", "names"),
    [
        (
            None,
            None,
            "duo",
            ["./config.yaml has several functions, name one of them: one, two"],
            ("one", "two"),
        ),
        (
            None,
            "duo/config.yaml",
            ".",
            ["./duo/config.yaml has several functions, name one of them: one, two"],
            ("one", "two"),
        ),
        ("duo", None, ".", ["several functions, and none is named 'duo'"], ("one", "two")),
        ("./duo/", None, ".", ["several functions, and none is named 'duo'"], ("one", "two")),
        ("./hello", "odd/config.yaml", ".", ["./hello/config.yaml", "./odd/config.yaml"], ()),
        (
            "hello/config.yaml",
            "odd/config.yaml",
            ".",
            ["expected one config file, got two", "./odd"],
            (),
        ),
    ],
)
def test_what_fits_more_than_once(
    tree: Path,
    argument: str | None,
    config: str | None,
    where: str,
    said: list[str],
    names: tuple[str, ...],
) -> None:
    with pytest.raises(FunctionAmbiguous) as caught:
        locate(argument, Path(config) if config else None, tree / where)

    assert caught.value.names == names
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "config", "where", "said", "near"),
    [
        (None, None, ".", ["has no config.yaml; `dcf-cli function init NAME` creates"], ()),
        (None, None, "hello/src", [", but", "hello has one: run the command there"], ()),
        (
            "hallo",
            None,
            ".",
            ["the folder hallo does not exist, and", "has no config.yaml"],
            ("hello",),
        ),
        ("x", None, "hello/src", ["has one: run the command there"], ()),
        ("empty", None, ".", ["folder empty has no config.yaml"], ()),
        ("empty", None, "..", ["the folder empty does not exist"], ()),
        ("./empty", None, ".", ["folder ./empty has no config.yaml", "init"], ()),
        (
            "./hallo",
            None,
            ".",
            ["expected a folder with a config.yaml, got ./hallo, which does not exist"],
            ("hello",),
        ),
        ("./notes.txt", None, ".", ["got ./notes.txt, which is a file"], ()),
        ("hello/src/", None, ".", ["has no config.yaml"], ()),
        (
            "pear",
            None,
            "pair",
            ["./config.yaml has no function 'pear', only pair, other"],
            ("pair",),
        ),
        ("othre", "pair/config.yaml", ".", ["no function 'othre'"], ("other",)),
        ("hello", "odd/config.yaml", ".", ["./odd/config.yaml has no function 'hello'"], ()),
        ("nosuch/config.yaml", None, ".", ["does not exist"], ()),
    ],
)
def test_what_is_not_found(
    tree: Path,
    argument: str | None,
    config: str | None,
    where: str,
    said: list[str],
    near: tuple[str, ...],
) -> None:
    with pytest.raises(FunctionNotFound) as caught:
        locate(argument, Path(config) if config else None, tree / where)

    assert caught.value.near == near
    for words in said:
        assert words in str(caught.value)


def test_a_key_and_a_folder_of_one_name_are_not_guessed_between(tree: Path) -> None:
    make(tree / "config.yaml", "hello", "more")

    with pytest.raises(FunctionAmbiguous, match=r"in \./config\.yaml.*folder hello"):
        locate("hello", None, tree)
    assert locate("./hello", None, tree).folder == tree / "hello"
    assert locate("hello", Path("config.yaml"), tree).folder == tree
    assert locate("more", None, tree).folder == tree
    assert locate("odd", None, tree).spec.name == "greeter"


def test_a_folder_that_is_the_same_place_is_no_second_one(tree: Path) -> None:
    make(tree / "config.yaml", "same", "other")
    (tree / "same").symlink_to(tree)

    assert locate("same", None, tree).spec.name == "same"


def test_a_foreign_config_file_beside_the_folder_does_not_matter(tree: Path) -> None:
    (tree / "config.yaml").write_text("theme: dark\n")

    assert locate("hello", None, tree).spec.name == "hello"
    with pytest.raises(ConfigError, match="theme"):
        locate("unknown", None, tree)


def test_a_key_is_found_beside_a_folder_without_a_config_file(tree: Path) -> None:
    make(tree / "config.yaml", "empty")

    assert locate("empty", None, tree).folder == tree


def test_a_config_file_that_does_not_hold_is_told_as_such(tree: Path) -> None:
    (tree / "hello" / "config.yaml").write_text("functions: {hello: {x: 1}}\n")

    for argument in ("hello", "./hello", "hello/config.yaml"):
        with pytest.raises(ConfigError, match="unknown key 'x'"):
            locate(argument, None, tree)
    with pytest.raises(ConfigError, match="file not found"):
        locate(None, Path("missing.yaml"), tree)


@pytest.mark.parametrize("argument", ["Hello", "hello_dcf", "", "-x", "a.b"])
def test_what_can_be_neither_name_nor_folder(tree: Path, argument: str) -> None:
    with pytest.raises(InvalidName):
        locate(argument, None, tree / "src" if argument else tree)
