"""The packages that the watcher builds on: which versions, and who may use their private names."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dcf.errors import StartError
from dcf.watcher.http import third_party

ROOT = Path(__file__).parents[3]
FILE = ROOT / "src/dcf/watcher/http/third_party.py"
PUBLIC = {
    "uvicorn", "websockets.client", "websockets.exceptions", "websockets.frames",
    "websockets.http11", "websockets.protocol", "websockets.server", "websockets.typing",
    "websockets.uri",
}  # fmt: skip
"""What their references describe: uvicorn.org, and the Sans-I/O pages of websockets."""


def imported(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name for name in modules if name.partition(".")[0] in {"uvicorn", "websockets"}}


def test_no_other_file_of_the_watcher_imports_the_packages():
    paths = [path for path in (ROOT / "src/dcf/watcher").rglob("*.py") if imported(path)]
    assert paths == [FILE]


def test_no_other_file_imports_private_names():
    private = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in (ROOT / "src").rglob("*.py")
        if path != FILE
        for module in imported(path) - PUBLIC
    }
    assert private == set()


@pytest.mark.parametrize("package", third_party.SUPPORTED)
def test_the_runtime_extra_has_the_bounds_of_the_file(package: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest, highest = third_party.SUPPORTED[package]
    *head, last = map(int, highest.split("."))
    above = ".".join(map(str, (*head, last + 1)))
    assert f"{package}>={lowest},<{above}" in project["optional-dependencies"]["runtime"]


def started_with(tmp_path: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a watcher that finds ``files`` before the installed packages."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "handler.py").write_text("def Handler(req): return b''\n")
    return subprocess.run(
        [sys.executable, "-m", "dcf.watcher"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "DCF_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def metadata(package: str, number: str) -> dict[str, str]:
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: {number}\n"
    return {f"{package}-{number}.dist-info/METADATA": about, f"{package}/__init__.py": ""}


@pytest.mark.parametrize(
    ("package", "files", "expected"),
    [
        (
            "uvicorn",
            metadata("uvicorn", "0.99"),
            "uvicorn 0.99 is not supported, expected 0.30 to ",
        ),
        (
            "websockets",
            metadata("websockets", "99.0"),
            "websockets 99.0 is not supported, expected 13 to ",
        ),
    ],
)
def test_an_unsupported_version_is_reported_in_a_sentence(
    tmp_path: Path, package: str, files: dict[str, str], expected: str
):
    done = started_with(tmp_path, files)
    assert done.returncode == 70
    assert expected in done.stdout
    assert "; pin a supported version in requirements.txt" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_version_that_lacks_a_method_is_not_supported():
    class Server:
        def serve(self) -> None: ...

    with pytest.raises(StartError, match=r"uvicorn [0-9.]+ is not supported"):
        third_party.require("uvicorn", Server)
