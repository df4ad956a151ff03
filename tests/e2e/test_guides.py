"""The tutorial and the how-to guides are followed as a reader follows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from dcf.project.config import load_config
from e2e.documents import GATEWAY_PORT, ROOT, SERVE_PORT, Reader, blocks, home_of, steps
from ports import free_port

DOCS = ROOT / "docs"
HOW_TO = DOCS / "how-to"

NO_USER_SYSTEMD = "the tests have no systemd of a user"
HARMFUL = "it would change the environment or the caches of whoever runs the tests"
NO_TORCH = "hundreds of megabytes, from an index that the tests do not depend on"

LEFT_OUT: dict[str, dict[str, str]] = {
    "pytorch": {'echo "[5.1, 3.5, 1.4, 0.2]" | dcf-cli function run classify': NO_TORCH},
    "systemd": {
        "systemctl --user daemon-reload": NO_USER_SYSTEMD,
        "systemctl --user enable --now dcf-gateway": NO_USER_SYSTEMD,
        "loginctl enable-linger": NO_USER_SYSTEMD,
        "systemctl --user status dcf-gateway": NO_USER_SYSTEMD,
        "journalctl --user -u dcf-gateway -f": NO_USER_SYSTEMD,
        "systemctl --user restart dcf-gateway": NO_USER_SYSTEMD,
        "systemctl --user disable --now dcf-gateway": NO_USER_SYSTEMD,
        "dcf-cli gateway status": "no gateway runs without systemd",
    },
    "uninstall": {
        "systemctl --user disable --now dcf-gateway": NO_USER_SYSTEMD,
        "rm ~/.config/systemd/user/dcf-gateway.service": NO_USER_SYSTEMD,
        "systemctl --user daemon-reload": NO_USER_SYSTEMD,
        "python -m uv cache clean": HARMFUL,
        "pip uninstall --yes dcframework": HARMFUL,
    },
}
"""Commands of the pages that are not run, each with the reason."""
TOOLS = ("promtool", "systemd-analyze")
"""Programs that a machine may lack; then their commands are not run."""


@pytest.fixture
def reader(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Reader]:
    """A new user, who has the repository in the folder ``dcf`` and stands beside its examples."""
    if not (ROOT / "examples").is_dir():
        pytest.skip("a source distribution has no examples")
    cwd = tmp_path / "me"
    cwd.mkdir()
    (cwd / "examples").symlink_to(ROOT / "examples")
    (cwd / "dcf").symlink_to(ROOT)
    ports = {SERVE_PORT: str(free_port()), GATEWAY_PORT: str(free_port())}
    env = home_of(cwd, environment, ports[GATEWAY_PORT])
    with Reader(cwd, env, ports) as person:
        yield person


# The tutorial


def test_the_tutorial(reader: Reader) -> None:
    reader.follow(DOCS / "tutorial" / "first-function.md")
    _run_the_readers_test(reader)
    reader.follow(DOCS / "tutorial" / "first-deploy.md")
    reader.follow(DOCS / "tutorial" / "first-stream.md")

    assert len(reader.ran) >= 18


def _run_the_readers_test(reader: Reader) -> None:
    """Run the test that the tutorial writes, with the packages of the function it tests."""
    (packages,) = (reader.cwd / ".local/share/dcf/store/environments").glob("*/lib/*/site-packages")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "mood/tests"],
        cwd=reader.cwd,
        env={**os.environ, "PYTHONPATH": f"mood/src{os.pathsep}{packages}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


# The how-to guides


def follow(reader: Reader, page: str) -> None:
    document = HOW_TO / f"{page}.md"
    left_out = dict(LEFT_OUT.get(page, {}))
    typed = [
        command
        for block in blocks(document)
        if block.language == "console"
        for command, _ in steps(block.text)
    ]
    assert set(left_out) <= set(typed), "these commands are not on the page"
    for command in typed:
        if command.startswith(TOOLS) and not shutil.which(command.split()[0]):
            left_out[command] = "the program is not on this machine"
    reader.follow(document, left_out=left_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "logging",
        "onnx",
        "prometheus",
        "secrets",
        "systemd",
    ],
)
def test_the_commands_of_a_how_to_guide(reader: Reader, page: str) -> None:
    follow(reader, page)

    assert reader.ran


@pytest.mark.slow
def test_the_script_of_the_ci_guide_rolls_back_if_its_call_fails(reader: Reader) -> None:
    follow(reader, "ci-deploy")
    (reader.cwd / "mood/src/handler.py").write_text("def Handler(req):\n    raise ValueError\n")

    reader.type("! DCF_TOKEN=$(cat token) sh deploy.sh")

    reader.type('test "$(echo hello | dcf-cli function call mood)" = hello')
    reader.type("dcf-cli function revisions mood | grep -E '^2 '")


@pytest.mark.slow
def test_uninstall_leaves_nothing_of_dcf(reader: Reader) -> None:
    reader.type("dcf-cli function init mood")
    reader.type("dcf-cli gateway start --detach")
    reader.type("dcf-cli function deploy mood")
    (reader.cwd / ".config/dcf/secrets").mkdir(parents=True)

    follow(reader, "uninstall")

    left = {str(path.relative_to(reader.cwd)) for path in reader.cwd.rglob("*") if path.is_file()}
    assert {path for path in left if path.startswith(".")} == set()
    assert "mood/src/handler.py" in left


@pytest.mark.slow
@pytest.mark.timeout(400)  # installs DCF
def test_the_folder_of_packages_of_the_offline_guide_is_complete(reader: Reader) -> None:
    follow(reader, "offline")

    # With neither the store nor the cache of the machine that collected it, and without an index.
    bare = (
        "PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels DCF_DATA_DIR=$PWD/data UV_CACHE_DIR=$PWD/cache"
    )
    reader.type(f"echo hello | {bare} offline/bin/dcf-cli function run mood | grep hello")
    assert (reader.cwd / "data/store/environments").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(400)  # installs DCF
def test_what_is_deployed_outlives_the_upgrade_and_the_way_back(reader: Reader) -> None:
    (reader.cwd / "dcf").unlink()
    for name, version in (("dcf-old", "0.0.1"), ("dcf", "0.0.2")):
        copy = reader.cwd / name
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, copy)
        # Another version is another watcher, so every environment must be made again.
        (copy / "src/dcf/version.py").write_text(f'__version__ = "{version}"\n')
    reader.type("python3 -m venv .venv")
    # The other packages are those of the tests: only DCF itself is installed.
    (packages,) = (reader.cwd / ".venv/lib").glob("*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    reader.use_programs_of(reader.cwd / ".venv/bin")
    reader.type("pip install --quiet ./dcf-old")
    reader.type("dcf-cli function init mood")
    reader.type("dcf-cli gateway start --detach")
    reader.type("dcf-cli function deploy mood")

    follow(reader, "upgrade")

    assert "pip install --upgrade ./dcf" in reader.ran
    reader.type("dcf-cli version | grep -F 0.0.1")
    reader.type('test "$(echo hello | dcf-cli function call mood)" = hello')


@pytest.mark.slow
def test_the_index_of_the_pytorch_guide_gives_the_build_for_the_cpu(
    reader: Reader, tmp_path: Path
) -> None:
    """The index is one on this machine, and its torch is empty; uv and DCF are real."""
    with _index(tmp_path / "index", "torch", "99.0.0+cpu") as url:
        reader.replace("https://download.pytorch.org/whl/cpu", url)
        follow(reader, "pytorch")

    assert len(reader.ran) == 3


@contextmanager
def _index(folder: Path, name: str, version: str) -> Iterator[str]:
    """Serve a package index with one empty package."""
    place = folder / name
    place.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output free of requests."""


def test_every_how_to_guide_is_followed_by_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    followed = set(re.findall(r'follow\(reader, "([\w-]+)"\)', source))
    followed |= set(re.findall(r'^        (?:pytest.param\()?"([\w-]+)",', source, re.MULTILINE))

    assert {path.stem for path in HOW_TO.glob("*.md")} == followed


# What cannot be run is checked


@pytest.mark.parametrize("path", sorted(HOW_TO.glob("*.md")), ids=lambda path: path.stem)
def test_every_block_of_a_how_to_guide_is_run_or_checked(path: Path, tmp_path: Path) -> None:
    checks: dict[str, Callable[[str], object]] = {
        "python": lambda text: compile(text, path.name, "exec"),
        "yaml": yaml.safe_load,
        "sh": lambda text: subprocess.run(["sh", "-n"], input=text, text=True, check=True),
        "console": lambda text: list(steps(text)),
        "ini": _check_ini,
        "text": lambda text: text,
    }
    for block in blocks(path):
        checks[block.language](block.text)
        if block.file is not None and block.file.endswith("/config.yaml"):
            config = tmp_path / "config.yaml"
            config.write_text(block.text)
            load_config(config)
        if block.language == "text":
            assert block.file is not None


def _check_ini(text: str) -> None:
    head, *lines = text.splitlines()
    assert head in {"[global]", "[Service]"}
    assert all("=" in line for line in lines)
