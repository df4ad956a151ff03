"""Locks made by the real uv from packages in a folder."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dcf.builder import builder as module
from dcf.builder.builder import Built
from dcf.builder.interpreters import own_interpreter
from dcf.errors import (
    BuildError,
    IndexUnreachable,
    PackageNotFound,
    RequirementsInvalid,
    VersionConflict,
)
from dcf.model.function import FunctionSpec
from unit.builder.kit import (
    Heard,
    make_builder,
    make_folder,
    make_runtime_wheels,
    make_wheel,
    names,
    private_environment,
)


class Bench:
    """A user with a store and a folder of packages."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.wheels = make_runtime_wheels(place / "wheels")
        self.env = private_environment(place, self.wheels)
        self.heard = Heard()

    def build(self, folder: Path, *, nocache: bool = False, offline: bool = False) -> Built:
        self.heard = Heard()
        builder = make_builder(self.place / "store", self.env, self.heard)
        return builder.build(folder, FunctionSpec("f"), nocache=nocache, offline=offline)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def pins(folder: Path) -> list[str]:
    text = (folder / "requirements.lock").read_text()
    return re.findall(r"^\S+==\S+", text, re.MULTILINE)


WATCHER = ["httptools==0.9", "uvicorn==0.40", "uvloop==0.23", "websockets==15.0"]


def test_the_lock_covers_the_function_and_the_watcher(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0", requires=["deep>=1"])
    make_wheel(bench.wheels, "deep", "2.0")
    folder = make_folder(bench.place / "f", "mine\n")
    built = bench.build(folder)
    text = (folder / "requirements.lock").read_text()
    assert pins(folder) == ["deep==2.0", *WATCHER[:1], "mine==1.0", *WATCHER[1:]]
    assert "--hash=sha256:" in text
    assert "# via dcf-runtime" in text
    assert str(bench.place) not in text
    assert bench.heard.steps[1:] == [
        ("lock", "resolving 1 requirement"),
        ("environment", "installing 6 packages"),
    ]
    assert bench.heard.done == ["bundle", "lock", "environment"]
    assert [file.path for file in built.bundle.files] == [
        "config.yaml",
        "requirements.txt",
        "src/handler.py",
    ]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_without_requirements_the_watchers_own_are_locked(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    bench.build(folder)
    assert pins(folder) == WATCHER


def test_a_lock_is_regenerated_only_when_requirements_change(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    made = (folder / "requirements.lock").read_text()
    make_wheel(bench.wheels, "mine", "2.0")
    make_wheel(bench.wheels, "other", "1.0")
    (folder / "requirements.txt").write_text("# a comment\nmine\n")
    bench.build(folder)
    assert (folder / "requirements.lock").read_text() == made
    (folder / "requirements.txt").write_text("mine\nother\n")
    bench.build(folder)
    # Pins do not change without need: mine 2.0 is available, and 1.0 still fits.
    assert pins(folder) == [*WATCHER[:1], "mine==1.0", "other==1.0", *WATCHER[1:]]


def test_pins_change_only_if_they_must_or_if_the_lock_is_deleted(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    make_wheel(bench.wheels, "mine", "2.0")
    (folder / "requirements.lock").unlink()
    (bench.place / "store").rename(bench.place / "gone")
    bench.build(folder)
    assert "mine==2.0" in pins(folder)
    (folder / "requirements.txt").write_text("mine<2\n")
    bench.build(folder)
    assert "mine==1.0" in pins(folder)


def test_a_lock_with_a_merge_conflict_is_regenerated(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    make_wheel(bench.wheels, "mine", "2.0")
    lock = folder / "requirements.lock"
    lock.write_text(
        "<<<<<<< mine\n" + lock.read_text().replace("sha256:", "sha256:0") + ">>>>>>>\n"
    )
    (folder / "requirements.txt").write_text("mine>0\n")
    bench.build(folder)
    assert "mine==1.0" in pins(folder)
    assert "<<<" not in lock.read_text()


def test_a_deleted_lock_is_regenerated_with_the_newest_versions(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    first = bench.build(folder)
    make_wheel(bench.wheels, "mine", "2.0")
    (folder / "requirements.lock").unlink()
    assert bench.build(folder).artifact != first.artifact
    assert "mine==2.0" in (folder / "requirements.lock").read_text()


def test_nocache_keeps_the_pins(bench: Bench) -> None:
    make_wheel(bench.wheels, "mine", "1.0")
    folder = make_folder(bench.place / "f", "mine\n")
    first = bench.build(folder)
    make_wheel(bench.wheels, "mine", "2.0")
    second = bench.build(folder, nocache=True)
    assert second.artifact == first.artifact
    assert not second.fresh
    assert [step for step, _ in bench.heard.steps] == ["bundle", "environment"]


def test_a_lock_for_a_later_python_is_regenerated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(bench.place / "f")
    own = own_interpreter()
    major, minor = own.minor
    later = replace(own, version=f"{major}.{minor + 1}.0")
    with monkeypatch.context() as patched:
        patched.setattr(module, "find_interpreter", lambda *_, **__: later)
        bench.build(folder)
    lock = folder / "requirements.lock"
    assert f"python>={major}.{minor + 1} " in lock.read_text()
    notice = (
        f"requirements.lock requires Python {major}.{minor + 1} or later; it is regenerated for "
        f"{major}.{minor}"
    )
    assert bench.build(folder).notices == (notice,)
    assert f"python>={major}.{minor} " in lock.read_text()


def test_a_conflict_with_the_watcher_names_both(bench: Bench) -> None:
    make_wheel(bench.wheels, "uvicorn", "0.20")
    folder = make_folder(bench.place / "f", "uvicorn==0.20\n")
    with pytest.raises(VersionConflict) as caught:
        bench.build(folder)
    assert "requirements.txt requires uvicorn==0.20" in str(caught.value)
    assert "the watcher (dcf-runtime) needs uvicorn>=0.30" in str(caught.value)
    assert caught.value.output
    assert not (folder / "requirements.lock").exists()


def test_a_missing_package_is_named(bench: Bench) -> None:
    message = "expected an index with a package named nowhere-to-be-found, got none"
    with pytest.raises(PackageNotFound, match=message):
        bench.build(make_folder(bench.place / "f", "nowhere-to-be-found\n"))
    make_wheel(bench.wheels, "mine", "1.0")
    with pytest.raises(PackageNotFound, match="expected an index with mine==2, got none"):
        bench.build(make_folder(bench.place / "g", "mine==2\n"))


def test_a_misspelled_line_is_reported_with_its_number(bench: Bench) -> None:
    with pytest.raises(
        RequirementsInvalid, match=r"^requirements\.txt, line 2: no such comparison"
    ):
        bench.build(make_folder(bench.place / "f", "# first\nmine=3\n"))


def test_settings_of_surrounding_projects_are_ignored(bench: Bench) -> None:
    (bench.place / "uv.toml").write_text("nonsense = [\n")
    (bench.place / "pyproject.toml").write_text("[tool.uv]\nnonsense = 1\n")
    folder = make_folder(bench.place / "f")
    (folder / "uv.toml").write_text("nonsense = [\n")
    bench.build(folder)
    assert pins(folder) == WATCHER


def test_the_users_uv_settings_apply(bench: Bench) -> None:
    make_wheel(bench.place / "more", "mine", "1.0")
    config = bench.place / "home" / ".config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text(f'find-links = ["{bench.place}/more"]\n')
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    assert "mine==1.0" in pins(folder)


def test_links_in_requirements_are_followed_and_stay_out_of_the_lock(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "--find-links ./links\nmine\n")
    make_wheel(folder / "links", "mine", "1.0")
    built = bench.build(folder)
    text = (folder / "requirements.lock").read_text()
    assert "links" not in text
    assert "mine==1.0" in text
    assert list(built.environment.root.glob("lib/*/site-packages/mine.py"))


def test_an_index_that_does_not_answer_is_reported_soon(bench: Bench) -> None:
    del bench.env["PIP_NO_INDEX"]
    bench.env["UV_DEFAULT_INDEX"] = "http://me:secret@127.0.0.1:9/simple"
    message = r"expected an answer from the package index at .*127\.0\.0\.1:9.*, got none: "
    with pytest.raises(IndexUnreachable, match=message) as caught:
        bench.build(make_folder(bench.place / "f", "six\n"))
    assert "secret" not in str(caught.value) + caught.value.output + "".join(bench.heard.lines)
    assert names(bench.place / "store" / "tmp") == []


def test_without_network_and_cache_the_missing_package_is_named(bench: Bench) -> None:
    del bench.env["PIP_NO_INDEX"]
    with pytest.raises(IndexUnreachable, match="expected six in the cache, got nothing"):
        bench.build(make_folder(bench.place / "f", "six\n"), offline=True)


def test_of_equal_versions_that_of_the_main_index_is_locked(bench: Bench) -> None:
    wheels = {}
    for name in ("main", "extra"):
        for package in ("mine", "httptools", "uvicorn", "uvloop", "websockets"):
            page = bench.place / name / "simple" / package
            version = "0.40" if package == "uvicorn" else "15.0"
            wheel = make_wheel(page, package, version, files={f"{package}.py": f"x = {name!r}\n"})
            (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
            wheels[name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        del bench.env[name]
    bench.env["PIP_INDEX_URL"] = (bench.place / "main" / "simple").as_uri()
    bench.env["PIP_EXTRA_INDEX_URL"] = (bench.place / "extra" / "simple").as_uri()
    folder = make_folder(bench.place / "f", "mine\n")
    bench.build(folder)
    text = (folder / "requirements.lock").read_text()
    assert wheels["main"] in text
    assert wheels["extra"] not in text


def test_a_failed_resolution_keeps_the_old_lock(bench: Bench) -> None:
    folder = make_folder(bench.place / "f")
    bench.build(folder)
    before = (folder / "requirements.lock").read_text()
    (folder / "requirements.txt").write_text("nowhere-to-be-found\n")
    with pytest.raises(BuildError):
        bench.build(folder)
    assert (folder / "requirements.lock").read_text() == before
    assert names(bench.place / "store" / "tmp") == []
