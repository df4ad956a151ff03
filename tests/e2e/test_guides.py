"""The tutorial and the how-to guides are followed as a reader follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e.documents import GATEWAY_PORT, ROOT, SERVE_PORT, Reader, home_of
from ports import free_port

DOCS = ROOT / "docs"


@pytest.fixture
def reader(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Reader]:
    """A new user, who stands in a folder with the repository's examples."""
    if not (ROOT / "examples").is_dir():
        pytest.skip("a source distribution has no examples")
    cwd = tmp_path / "me"
    cwd.mkdir()
    (cwd / "examples").symlink_to(ROOT / "examples")
    ports = {SERVE_PORT: str(free_port()), GATEWAY_PORT: str(free_port())}
    env = home_of(cwd, environment, ports[GATEWAY_PORT])
    with Reader(cwd, env, ports) as person:
        yield person


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
