"""examples/01-hello-dcf, and the steps of its README."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Dcf = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def folder(examples: Path) -> Path:
    return examples / "01-hello-dcf"


@pytest.mark.parametrize("text", [b"Hello\n", "안녕".encode(), b""])
def test_the_reply_to_any_text_is_hello_dcf(dcf: Dcf, folder: Path, text: bytes) -> None:
    result = dcf("function", "run", folder, input=text)

    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b"Hello DCF"


def test_the_steps_of_the_readme_work(dcf: Dcf, folder: Path, tmp_path: Path) -> None:
    made = dcf("function", "init", "hello-dcf", "--runtime", "python", cwd=tmp_path)
    assert made.returncode == 0, made.stderr.decode()

    handler = tmp_path / "hello-dcf" / "src" / "handler.py"
    assert "class Handler" in handler.read_text()
    shutil.copyfile(folder / "src" / "handler.py", handler)

    built = dcf("function", "build", "-f", "config.yaml", "-v", cwd=tmp_path / "hello-dcf")
    assert built.returncode == 0, built.stderr.decode()

    ran = dcf("function", "run", "hello-dcf", input=b"Hello\n", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout == b"Hello DCF"


def test_the_example_equals_what_init_creates_except_for_the_handler(
    dcf: Dcf, folder: Path, tmp_path: Path
) -> None:
    dcf("function", "init", "hello-dcf", cwd=tmp_path)

    made = {path.relative_to(tmp_path / "hello-dcf") for path in _files(tmp_path / "hello-dcf")}
    ours = {path.relative_to(folder) for path in _files(folder)}
    assert ours - made <= {Path("README.md"), Path("requirements.lock")}
    assert made - ours == set()
    for name in ("Dockerfile", ".dcfignore", "config.yaml"):
        made_text = (tmp_path / "hello-dcf" / name).read_text()
        assert (folder / name).read_text() == made_text, name


def _files(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
