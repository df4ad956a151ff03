"""README.md is executed, and the examples of docs/reference are tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from e2e.documents import (
    GATEWAY_PORT,
    SECONDS,
    SERVE_PORT,
    Reader,
    blocks,
    home_of,
)
from ports import free_port

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

MAIN_JOB = (
    "python3 -m venv .venv && .venv/bin/pip install . &&"
    ' echo "Hello" | .venv/bin/dcf-cli function run examples/01-hello-dcf'
)
TEST_JOB = 'python3 -m venv .venv && .venv/bin/pip install ".[test]" && .venv/bin/pytest'


# The two commands that everything depends on


def test_the_first_screen_has_the_two_commands_word_for_word() -> None:
    first, second = blocks(README)[:2]

    assert first.text == MAIN_JOB + "\n"
    assert second.text == TEST_JOB + "\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a fresh clone would hold, files that are about to be added included."""
    listed = _git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if Path(_git("rev-parse", "--show-toplevel").strip()).resolve() != ROOT.resolve():
        pytest.skip("this is no clone: what belongs to the project is not known")
    tracked = set(_git("ls-files", "-z").split("\0"))
    copy = tmp_path / "clone"
    for name in filter(None, listed.split("\0")):
        # A lock beside an example was left there by somebody's build.
        left_over = name.endswith("/requirements.lock") and name not in tracked
        if left_over or not (ROOT / name).is_file():
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone: what belongs to the project is not known")
    return done.stdout


@pytest.mark.network
def test_the_main_job_from_a_fresh_clone(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    done = subprocess.run(
        ["bash", "-c", blocks(README)[0].text],
        cwd=checkout,
        env=_fresh(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # Before the reply stands what pip says.
    assert done.stdout.splitlines()[-1] == "Hello DCF"
    assert (home / ".local" / "share" / "dcf").is_dir() or sys.platform == "darwin"


def _fresh(home: Path) -> dict[str, str]:
    """The environment of a new user of this machine, whose packages come from where ours do."""
    foreign = ("DCF_", "XDG_", "PYTHON", "VIRTUAL_ENV", "UV_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["HOME"] = str(home)
    # The interpreter that runs the tests is new enough; the first python3 on the path need not be.
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    env["PATH"] = f"{base}{os.pathsep}{env['PATH']}"
    settings = Path("~/.config/pip/pip.conf").expanduser()
    if settings.is_file():
        env.setdefault("PIP_CONFIG_FILE", str(settings))
    return env


# The other steps, in order


def test_the_steps_print_what_the_readme_shows(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    port, gateway = str(free_port()), str(free_port())
    cwd = tmp_path / "me"
    cwd.mkdir()
    env = home_of(cwd, environment, gateway)
    with Reader(cwd, env, {SERVE_PORT: port, GATEWAY_PORT: gateway}) as reader:
        reader.follow(README)

    assert len(reader.ran) >= 18


# The reference


def test_the_python_of_the_clients_page_compiles() -> None:
    examples = [
        one for one in blocks(ROOT / "docs" / "reference" / "client.md") if one.language == "python"
    ]

    assert len(examples) >= 5
    for example in examples:
        compile(example.text, "docs/reference/client.md", "exec")


def test_the_example_of_the_handlers_page_passes_its_own_test(tmp_path: Path) -> None:
    written = []
    for block in blocks(ROOT / "docs" / "reference" / "handler.md"):
        if block.language != "python":
            continue
        compile(block.text, "docs/reference/handler.md", "exec")
        named = re.search(r"`((?:src|tests)/[\w-]+\.py)`", block.before)
        if named:
            place = tmp_path / named.group(1)
            place.parent.mkdir(exist_ok=True)
            place.write_text(block.text)
            written.append(named.group(1))
    assert written == ["src/handler.py", "tests/test_handler.py"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)
