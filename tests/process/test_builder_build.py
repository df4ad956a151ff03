"""Complete builds by the real uv, from packages in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dcf.builder.builder import Built
from dcf.builder.interpreters import own_interpreter
from dcf.builder.store import Store
from dcf.errors import BundleInvalid, InstallFailed, InterpreterNotFound, RequirementsInvalid
from dcf.model.function import FunctionSpec
from unit.builder.kit import (
    RUNTIME_PACKAGES,
    Heard,
    make_builder,
    make_folder,
    make_runtime_wheels,
    make_wheel,
    names,
    private_environment,
)

BACKEND = """\
import zipfile
def _wheel(folder, text):
    name = "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        archive.writestr("mine.py", text)
        about = "mine-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{about}/RECORD", "")
    return name
def build_wheel(folder, settings=None, metadata=None):
    text = open("mine.py").read()
    if "broken" in text:
        raise RuntimeError("it does not compile")
    return _wheel(folder, text)
"""
"""A build backend in the package itself, so that nothing has to be downloaded."""

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "mine"
version = "1.0"
"""


class Bench:
    """A user with a store and a folder of packages."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.wheels = make_runtime_wheels(place / "wheels")
        self.env = private_environment(place, self.wheels)
        self.store = Store(place / "store")
        self.heard = Heard()

    def build(
        self,
        folder: Path,
        *,
        python: str | None = None,
        nocache: bool = False,
        offline: bool = False,
    ) -> Built:
        self.heard = Heard()
        builder = make_builder(self.store.root, self.env, self.heard)
        spec = FunctionSpec("f", python=python)
        return builder.build(folder, spec, nocache=nocache, offline=offline)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def run(built: Built, code: str) -> str:
    command = [str(built.environment.python), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def make_local_package(place: Path, text: str) -> None:
    place.mkdir(exist_ok=True)
    (place / "pyproject.toml").write_text(PROJECT)
    (place / "backend.py").write_text(BACKEND)
    (place / "mine.py").write_text(text)


def test_the_environment_has_the_packages_and_the_guest_rooms_and_no_more(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    built = bench.build(make_folder(bench.place / "f", "mine\n"))
    assert run(built, "import mine, uvicorn, dcf.model.artifact; print(mine.version)") == "1.0"
    specs = run(
        built, "import importlib.util as u; print(u.find_spec('dcf.builder'), u.find_spec('pip'))"
    )
    assert specs == "None None"
    assert run(built, "import sys; print(sys.version)").split()[0] == own_interpreter().version
    compiled = built.environment.root.glob("lib/*/site-packages/__pycache__/mine.*.pyc")
    assert list(compiled)
    assert bench.store.lock(built.artifact.lock).startswith("# Made by dcf")
    assert bench.store.bundle(built.artifact.bundle) == built.bundle
    assert names(bench.store.scratch) == []


def test_without_a_change_no_program_is_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(bench.place / "f")
    first = bench.build(folder)
    monkeypatch.setattr(subprocess, "Popen", None)
    begin = time.process_time()
    second = bench.build(folder)
    assert time.process_time() - begin < 0.15
    assert second.fresh
    assert not first.fresh
    assert (second.artifact, second.environment) == (first.artifact, first.environment)


def test_a_changed_line_keeps_the_environment(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    first = bench.build(folder)
    (folder / "src" / "handler.py").write_text("x = 1\n")
    second = bench.build(folder)
    assert not second.fresh
    assert second.artifact.lock == first.artifact.lock
    assert second.artifact.bundle != first.artifact.bundle
    assert second.environment == first.environment
    assert [step for step, _ in bench.heard.steps] == ["bundle"]


def test_equal_pins_share_an_environment(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    first = bench.build(make_folder(bench.place / "f", "mine\n"))
    second = bench.build(make_folder(bench.place / "g", "mine==1.0  # exactly\n"))
    assert first.artifact.lock != second.artifact.lock
    assert first.environment == second.environment


def test_a_local_package_is_installed_again_after_a_change(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "-e ./pkg\n")
    make_local_package(folder / "pkg", "value = 1\n")
    first = bench.build(folder)
    assert run(first, "import mine; print(mine.value)") == "1"
    assert "editable" in first.notices[0]
    (folder / "pkg" / "mine.py").write_text("value = 2\n")
    second = bench.build(folder)
    assert run(second, "import mine; print(mine.value)") == "2"
    assert run(first, "import mine; print(mine.value)") == "1"
    assert second.artifact.lock == first.artifact.lock
    assert "\n./pkg\n" in (folder / "requirements.lock").read_text()


def test_a_local_wheel_is_installed(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "./wheels/mine-1.0-py3-none-any.whl\n")
    make_wheel(folder / "wheels", "mine", "1.0")
    assert run(bench.build(folder), "import mine; print(mine.version)") == "1.0"


def test_a_local_package_that_is_excluded_from_the_bundle_is_reported(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "./pkg\n")
    make_local_package(folder / "pkg", "value = 1\n")
    (folder / ".dcfignore").write_text("pkg\n")
    message = "line 1: expected a package in the bundle, got pkg, which is excluded"
    with pytest.raises(RequirementsInvalid, match=message):
        bench.build(folder)


def test_a_package_that_does_not_build_is_reported_and_leaves_nothing(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "./pkg\n")
    make_local_package(folder / "pkg", "broken")
    with pytest.raises(InstallFailed, match="it does not compile") as caught:
        bench.build(folder)
    assert "Traceback" in caught.value.output
    assert names(bench.store.environments) == []
    assert names(bench.store.scratch) == []
    (folder / "pkg" / "mine.py").write_text("value = 1\n")
    assert run(bench.build(folder), "import mine; print(mine.value)") == "1"


def test_a_package_that_does_not_match_the_lock_is_rejected(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    make_wheel(bench.wheels, "mine", "1.0", files={"mine.py": "evil = 1\n"})
    bench.env["UV_CACHE_DIR"] += "-new"
    bench.store = Store(bench.place / "other store")
    with pytest.raises(InstallFailed, match=r"[Hh]ash"):
        bench.build(folder)


def test_an_environment_without_its_interpreter_is_rebuilt(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    built = bench.build(folder)
    built.environment.python.unlink()
    built.environment.python.symlink_to("/nowhere/python")
    again = bench.build(folder)
    assert not again.fresh
    assert run(again, "print(1)") == "1"


def test_an_environment_without_its_marker_is_rebuilt(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    built = bench.build(folder)
    bench.store.marker_path(built.environment.key).unlink()
    (built.environment.root / "junk").touch()
    bench.build(folder)
    assert not (built.environment.root / "junk").exists()


def test_nocache_rebuilds_the_environment_unless_it_is_in_use(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    built = bench.build(folder)
    junk = built.environment.root / "junk"
    junk.touch()
    with bench.store.hold(built.environment.key):
        assert bench.build(folder, nocache=True).notices == (
            "the environment is in use and was not rebuilt",
        )
        assert junk.exists()
    bench.build(folder, nocache=True)
    assert not junk.exists()


def test_the_callers_environment_does_not_leak_into_the_build(bench: Bench) -> None:
    bench.env |= {
        "VIRTUAL_ENV": sys.prefix,
        "PYTHONPATH": "/nowhere",
        "PYTHONHOME": "/nowhere",
        "CONDA_PREFIX": "/nowhere",
        "UV_SYSTEM_PYTHON": "1",
        "UV_PROJECT_ENVIRONMENT": "/nowhere",
    }
    assert run(bench.build(make_folder(bench.place / "f")), "print(1)") == "1"


def test_a_missing_python_is_reported_with_the_installed_ones(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    with pytest.raises(InterpreterNotFound, match=r"expected Python 3\.77, got neither") as caught:
        bench.build(folder, python="3.77", offline=True)
    assert own_interpreter().version in str(caught.value)


def test_the_version_of_the_running_python_selects_it(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    first = bench.build(folder)
    major, minor = own_interpreter().minor
    assert bench.build(folder, python=f"{major}.{minor}").environment == first.environment


def test_a_path_that_is_not_a_folder_is_rejected(bench: Bench) -> None:
    with pytest.raises(BundleInvalid, match=r"expected a folder at .*, got"):
        bench.build(bench.place / "nowhere")


def test_a_failed_build_does_not_read_the_model_again(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "nowhere-to-be-found\n")
    for path in folder.rglob("*"):
        os.utime(path, ns=(1, 1))
    with pytest.raises(Exception, match="nowhere-to-be-found"):
        bench.build(folder)
    (record,) = bench.store.folders.iterdir()
    assert set(json.loads(record.read_text())["files"]) == {
        "config.yaml",
        "requirements.txt",
        "src/handler.py",
    }


@contextmanager
def index(wheels: Path, place: Path) -> Iterator[str]:
    """Serve a package index on this machine during the block."""
    for wheel in wheels.iterdir():
        page = place / "simple" / wheel.name.split("-")[0]
        page.mkdir(parents=True, exist_ok=True)
        (page / wheel.name).write_bytes(wheel.read_bytes())
        (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def end_headers(self) -> None:
            self.send_header("Cache-Control", "max-age=0, must-revalidate")
            super().end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


def test_cached_packages_build_without_a_network(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        del bench.env[name]
    folder = make_folder(bench.place / "f", "mine\n")
    with index(bench.wheels, bench.place / "index") as url:
        bench.env["PIP_INDEX_URL"] = url
        bench.build(folder)
    assert url not in (folder / "requirements.lock").read_text()
    # Another store: the lock is in the folder, the packages are in uv's cache.
    bench.store = Store(bench.place / "second")
    begin = time.monotonic()
    assert bench.build(folder).notices == ()
    assert time.monotonic() - begin < 10
    # Without a lock.
    other = make_folder(bench.place / "g", "mine\n")
    built = bench.build(other)
    assert built.notices == ("the package index did not answer; the lock was made from the cache",)
    assert run(built, "import mine; print(mine.version)") == "1.0"
    # With offline=True the network is not tried.
    bench.store = Store(bench.place / "third")
    assert bench.build(make_folder(bench.place / "h", "mine\n"), offline=True).notices == ()


@pytest.mark.network
def test_packages_come_from_the_index_of_this_machines_settings(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "f", "six\nidna\n")
    built = make_builder(tmp_path / "store", os.environ, Heard()).build(folder, FunctionSpec("f"))
    assert run(built, "import six, idna, uvicorn, httptools, dcf.model.names; print(1)") == "1"
    names = {
        line.split("==")[0] for line in (folder / "requirements.lock").read_text().splitlines()
    }
    assert {"six", "idna", *(name for name, _ in RUNTIME_PACKAGES)} <= names
