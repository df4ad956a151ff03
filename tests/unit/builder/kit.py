"""Shared by the builder's tests: packages made by hand, so that the tests need no index."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dcf.builder.build_progress import Listener
from dcf.builder.builder import Builder
from dcf.builder.store import Store
from dcf.builder.uv import Uv
from dcf.settings import StoreSettings

RUNTIME_PACKAGES = (
    ("httptools", "0.9"),
    ("uvicorn", "0.40"),
    ("uvloop", "0.23"),
    ("websockets", "15.0"),
)


SLOW_BACKEND = """\
import os, time, zipfile
from pathlib import Path
def build_wheel(folder, settings=None, metadata=None):
    place = Path({place!r})
    (place / "pid").write_text(str(os.getpid()))
    (place / "pid").rename(place / "building")
    until = time.monotonic() + 20
    while not (place / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    name = "slow-1.0-py3-none-any.whl"
    about = "slow-1.0.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{{name}}", "w") as archive:
        archive.writestr("slow.py", "x = 1")
        archive.writestr(f"{{about}}/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n")
        archive.writestr(f"{{about}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{{about}}/RECORD", "")
    return name
"""

SLOW_PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "slow"
version = "1.0"
"""


class Heard:
    """A listener that records what it receives."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.done: list[str] = []
        self.notices: list[str] = []
        self.lines: list[str] = []

    def started(self, step: str, detail: str) -> None:
        self.steps.append((step, detail))

    def finished(self, step: str, detail: str, seconds: float) -> None:
        assert seconds >= 0
        self.done.append(step)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def output(self, line: str) -> None:
        self.lines.append(line)


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Iterable[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel with a module of the package's name, or with the given files.

    Equal content gives equal bytes at any time, because a lock has their hash.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    content = dict(files or {f"{name}.py": f"version = {version!r}\n"})
    content[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    )
    content[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        record += f"{path},sha256={digest.rstrip(b'=').decode()},{len(text.encode())}\n"
    content[f"{about}/RECORD"] = record + f"{about}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o644 << 16
            archive.writestr(member, text)
    return wheel


def make_runtime_wheels(folder: Path) -> Path:
    """Make stand-ins for the watcher's requirements."""
    for name, version in RUNTIME_PACKAGES:
        make_wheel(folder, name, version)
    return folder


def private_environment(place: Path, wheels: Path) -> dict[str, str]:
    """Return the environment of a user without settings, whose only packages are in a folder."""
    return {
        **{name: os.environ[name] for name in ("PATH", "TEST_RUN_MARK") if name in os.environ},
        "HOME": str(place / "home"),
        "UV_CACHE_DIR": str(place / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }


def make_folder(place: Path, requirements: str | None = None) -> Path:
    """Make a function's folder."""
    (place / "src").mkdir(parents=True)
    (place / "src" / "handler.py").write_text("def handle(req):\n    return req.input\n")
    (place / "config.yaml").write_text("functions: {}\n")
    if requirements is not None:
        (place / "requirements.txt").write_text(requirements)
    return place


def make_slow_package(folder: Path, place: Path) -> None:
    """Make a package whose build writes its process id to ``building`` and waits for ``go``."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(SLOW_PROJECT)
    (folder / "backend.py").write_text(SLOW_BACKEND.format(place=str(place)))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def make_builder(
    store: Path, env: Mapping[str, str], listener: Listener, limit: int | None = None
) -> Builder:
    """Return a builder with its parts."""
    settings = StoreSettings() if limit is None else StoreSettings(limit=limit)
    return Builder(Store(store), Uv(env), listener, settings)


def names(place: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in place.iterdir())
