from __future__ import annotations

import ast
import stat
from pathlib import Path

import pytest

from dcf.errors import FolderExists, InvalidName, ProjectError, StorageError
from dcf.model.function import FunctionSpec
from dcf.project.config import load_config
from dcf.project.init import dockerfile_changed, init_function
from dcf.project.notices import notices
from dcf.project.runtimes import runtime_problem, runtimes

FILES = [
    ".dcfignore",
    "Dockerfile",
    "config.yaml",
    "requirements.txt",
    "src/__init__.py",
    "src/handler.py",
]


def listing(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_new_folder_holds_what_the_original_made(tmp_path: Path) -> None:
    created = init_function("hello-dcf", parent=tmp_path)

    assert created.folder == tmp_path / "hello-dcf"
    assert [path.as_posix() for path in created.files] == FILES
    written = [path for path in created.folder.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(created.folder).as_posix() for path in written) == FILES
    assert listing(tmp_path) == ["hello-dcf"]
    assert not any("{{" in path.read_text(encoding="utf-8") for path in written)


def test_a_streaming_function_differs_in_its_runtime_and_its_handler(tmp_path: Path) -> None:
    for runtime in ("python", "streaming"):
        (tmp_path / runtime).mkdir()
    made = {
        runtime: init_function("f", runtime=runtime, parent=tmp_path / runtime)
        for runtime in ("python", "streaming")
    }

    assert made["streaming"].files == made["python"].files
    text = {
        runtime: {path.as_posix(): (function.folder / path).read_text() for path in function.files}
        for runtime, function in made.items()
    }
    differ = {path for path in FILES if text["python"][path] != text["streaming"][path]}
    assert differ == {"config.yaml", "src/handler.py"}
    config = load_config(made["streaming"].folder / "config.yaml")
    assert config.functions == {"f": FunctionSpec("f", runtime="streaming")}
    assert "for each message" in text["streaming"]["src/handler.py"]


def test_the_new_config_file_holds_only_defaults(tmp_path: Path) -> None:
    created = init_function("hello", parent=tmp_path)
    config = load_config(created.folder / "config.yaml")

    assert config.functions == {"hello": FunctionSpec("hello")}
    assert config.gateway == "127.0.0.1:32222"
    assert notices(config.functions["hello"]) == ()


@pytest.mark.parametrize("name", ["on", "no", "null", "true", "y", "a" * 63])
def test_names_that_mean_something_to_yaml(tmp_path: Path, name: str) -> None:
    created = init_function(name, parent=tmp_path)

    assert list(load_config(created.folder / "config.yaml").functions) == [name]


@pytest.mark.parametrize("gateway", ["gateway.example.com:80", "[::1]:32222", "https://g:1"])
def test_the_gateway_is_written_down(tmp_path: Path, gateway: str) -> None:
    created = init_function("f", parent=tmp_path, gateway=gateway)

    assert load_config(created.folder / "config.yaml").gateway == gateway


def test_the_config_file_may_have_another_name(tmp_path: Path) -> None:
    created = init_function("f", parent=tmp_path, config_name="prod.yml")

    assert Path("prod.yml") in created.files
    assert not (created.folder / "config.yaml").exists()
    assert load_config(created.folder / "prod.yml").functions


@pytest.mark.parametrize("runtime", [runtime.name for runtime in runtimes()])
def test_the_new_handler_returns_its_input(tmp_path: Path, runtime: str) -> None:
    created = init_function("f", runtime=runtime, parent=tmp_path)
    source = (created.folder / "src/handler.py").read_text()
    names: dict[str, type] = {}
    exec(compile(ast.parse(source), "handler.py", "exec"), names)
    request = type("Request", (), {"input": b"\x00hello"})

    assert names["Handler"]()(request) == b"\x00hello"


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    folder = init_function("f", parent=tmp_path).folder

    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


@pytest.mark.parametrize("kind", ["file", "folder", "full folder", "link", "dangling link"])
def test_what_is_there_is_never_touched(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "f"
    if kind == "file":
        target.write_text("mine")
    elif "folder" in kind:
        target.mkdir()
        if kind == "full folder":
            (target / "mine").touch()
    else:
        target.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(FolderExists) as caught:
        init_function("f", parent=tmp_path)

    assert caught.value.path == target
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"name": "Hello"}, InvalidName, "lower-case letter"),
        ({"name": "../f"}, InvalidName, "lower-case letter"),
        ({"name": "a/b"}, InvalidName, "'/'"),
        ({"runtime": "go"}, ProjectError, "the runtime 'go' of the original DCF is not supported"),
        (
            {"runtime": "../python"},
            ProjectError,
            "unknown runtime '../python' (did you mean 'python'?); available: python, streaming",
        ),
        ({"runtime": ""}, ProjectError, "unknown runtime ''"),
        ({"gateway": "host"}, ProjectError, "host:port"),
        ({"gateway": 'a"b:1'}, ProjectError, "host:port"),
        ({"config_name": "a/b.yaml"}, ProjectError, "without a folder"),
        ({"config_name": ""}, ProjectError, "without a folder"),
        ({"config_name": ".."}, ProjectError, "without a folder"),
        ({"config_name": "Dockerfile"}, ProjectError, "no other file"),
        ({"config_name": "src"}, ProjectError, "no other file"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    tmp_path: Path, options: dict[str, str], error: type[ProjectError], said: str
) -> None:
    with pytest.raises(error) as caught:
        init_function(**{"name": "f", **options}, parent=tmp_path)

    assert said in str(caught.value)
    assert listing(tmp_path) == []


def test_a_parent_that_is_missing_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for parent in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(StorageError, match="could not be created"):
            init_function("f", parent=parent)
    assert listing(tmp_path) == ["file"]


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    too_long = "c" * 300

    with pytest.raises(StorageError):
        init_function("f", parent=tmp_path, config_name=too_long)

    assert listing(tmp_path) == []


def test_a_changed_dockerfile_is_noticed(tmp_path: Path) -> None:
    folder = init_function("f", parent=tmp_path).folder
    file = folder / "Dockerfile"
    text = file.read_text()

    assert not dockerfile_changed(folder, "python")
    file.write_text(text.replace("\n", "\r\n") + "\n", newline="")
    assert not dockerfile_changed(folder, "python")
    file.write_text(text + "RUN true\n")
    assert dockerfile_changed(folder, "python")
    file.write_bytes(b"FROM \xff\n")
    assert dockerfile_changed(folder, "python")
    file.unlink()
    assert not dockerfile_changed(folder, "python")


def test_every_runtime_has_a_template(tmp_path: Path) -> None:
    assert [runtime.name for runtime in runtimes()] == ["python", "streaming"]
    for runtime in runtimes():
        assert runtime.description
        assert runtime_problem(runtime.name) == ""
        name = f"f-{runtime.name}"
        assert init_function(name, runtime=runtime.name, parent=tmp_path).files
