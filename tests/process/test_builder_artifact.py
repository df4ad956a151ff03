"""Environments of uploaded artifacts, made by the real uv from packages in a folder."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dcf.builder import rebuild
from dcf.builder.environment import Environment
from dcf.builder.interpreters import own_interpreter
from dcf.builder.prune import prune
from dcf.builder.retained import RetainedArtifacts, RetainedEntry
from dcf.builder.runtime_wheel import RuntimeWheel
from dcf.builder.store import Store
from dcf.builder.uploads import Uploads
from dcf.builder.uv import BuildStop
from dcf.errors import (
    BlobsMissing,
    BuildError,
    InstallFailed,
    InterpreterNotFound,
    PackageNotFound,
    RequirementsInvalid,
)
from dcf.model.artifact import Artifact, digest_of
from dcf.model.function import FunctionSpec
from unit.builder.kit import (
    Heard,
    make_builder,
    make_folder,
    make_runtime_wheels,
    make_slow_package,
    make_wheel,
    names,
    private_environment,
    wait_until,
)

SPEC = FunctionSpec("f")


class Bench:
    """An author's machine and a gateway's, each with packages and a store of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.wheels = make_runtime_wheels(place / "here" / "wheels")
        self.here = Store(place / "here" / "store")
        self.there = Store(place / "there" / "store")
        self.there_wheels = make_runtime_wheels(place / "there" / "wheels")
        self.env = private_environment(place / "here", self.wheels)
        self.there_env = private_environment(place / "there", self.there_wheels)
        self.heard = Heard()
        self.builder = make_builder(self.there.root, self.there_env, self.heard)

    def make_package(self, name: str) -> None:
        """Make equal packages on both sides, because a lock has their hash."""
        wheel = make_wheel(self.wheels, name)
        (self.there_wheels / wheel.name).write_bytes(wheel.read_bytes())

    def pack(self, folder: Path) -> Artifact:
        return make_builder(self.here.root, self.env, Heard()).lock(folder, SPEC).artifact

    def send(self, artifact: Artifact, lock: str | None = None) -> Artifact:
        """Upload an artifact; ``lock`` replaces its lock."""
        uploads = Uploads(self.there, most_bytes=1 << 30, most_files=1000)
        text = self.here.lock(artifact.lock) if lock is None else lock
        announced = uploads.announce(self.here.bundle(artifact.bundle).files, text)
        for blob in announced.missing:
            with uploads.receiving(blob.digest, blob.offset) as part:
                part.write(self.here.blobs.path(blob.digest).read_bytes())
                assert part.finish()
        return Artifact(announced.bundle, announced.lock)

    def deploy(self, folder: Path, spec: FunctionSpec = SPEC) -> Environment:
        return self.builder.build_artifact(self.send(self.pack(folder)), spec)


def run(environment: Environment, code: str) -> str:
    command = [str(environment.python), "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_uploaded_artifact_becomes_an_environment_that_is_kept(bench: Bench) -> None:
    bench.make_package("green")
    folder = make_folder(bench.place / "f", "green\n")
    artifact = bench.send(bench.pack(folder))
    heard = Heard()
    environment = bench.builder.build_artifact(artifact, SPEC, listener=heard)
    assert run(environment, "import green, uvicorn, dcf.errors; print(green.version)") == "1.0"
    assert heard.steps == [("environment", "installing 5 packages")]
    assert heard.done == ["environment"]
    assert bench.heard.steps == []
    assert RetainedArtifacts(bench.there).entries() == (RetainedEntry(artifact, environment.key),)
    assert prune(bench.there, limit=1).items == ()
    again = Heard()
    assert bench.builder.build_artifact(artifact, SPEC, listener=again) == environment
    assert again.steps == []
    assert names(bench.there.scratch) == []


def test_an_environment_built_in_the_same_store_is_shared(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "--no-binary never\n")
    built = make_builder(bench.there.root, bench.there_env, Heard()).build(folder, SPEC)
    assert bench.builder.build_artifact(built.artifact, SPEC) == built.environment
    assert bench.heard.steps == []


def test_files_that_requirements_refer_to_come_from_the_bundle(bench: Bench) -> None:
    """Included files, packages in the folder, and folders of wheels."""
    folder = make_folder(
        bench.place / "f", "-r more/base.txt\n./slow\n--find-links ./vendored\nblue\n"
    )
    (folder / "more").mkdir()
    (folder / "more" / "base.txt").write_text("--find-links wheels\nred\n")
    make_wheel(folder / "more" / "wheels", "red", "2.0")
    make_wheel(folder / "vendored", "blue", "3.0")
    make_slow_package(folder / "slow", bench.place)
    (bench.place / "go").touch()
    environment = bench.deploy(folder)
    assert run(environment, "import red, blue, slow; print(red.version, blue.version)") == "2.0 3.0"
    assert bench.deploy(folder) == environment


def test_a_folder_without_requirements_is_built_too(bench: Bench) -> None:
    assert run(bench.deploy(make_folder(bench.place / "f")), "import uvicorn; print(1)") == "1"


def test_an_included_file_that_is_not_in_the_bundle_is_named(bench: Bench) -> None:
    (bench.place / "base.txt").write_text("uvicorn\n")
    folder = make_folder(bench.place / "f", "-r ../base.txt\n")
    message = r"requirements\.txt, line 1: expected a file in the function's folder, got \.\./base"
    with pytest.raises(RequirementsInvalid, match=message):
        bench.deploy(folder)


def test_packages_come_from_the_gateways_index(bench: Bench) -> None:
    make_wheel(bench.wheels, "green")
    folder = make_folder(bench.place / "f", "green\n")
    with pytest.raises(PackageNotFound, match="green"):
        bench.deploy(folder)
    # A package of the same name and version with another content is rejected.
    make_wheel(bench.there_wheels, "green", files={"green.py": "version = 'bad'\n"})
    with pytest.raises(InstallFailed):
        bench.deploy(folder)
    assert names(bench.there.environments) == []
    assert RetainedArtifacts(bench.there).entries() == ()


def test_missing_uploads_are_counted(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "")
    artifact = bench.pack(folder)
    with pytest.raises(BlobsMissing, match=r"f has not been uploaded"):
        bench.builder.build_artifact(artifact, SPEC)
    uploads = Uploads(bench.there, most_bytes=1 << 30, most_files=1000)
    uploads.announce(bench.here.bundle(artifact.bundle).files, bench.here.lock(artifact.lock))
    with pytest.raises(BlobsMissing, match=r"^3 of the 3 blobs of f have not been uploaded"):
        bench.builder.build_artifact(artifact, SPEC)
    with pytest.raises(BlobsMissing, match="expected a digest"):
        bench.builder.build_artifact(Artifact("sha256:../../x", artifact.lock), SPEC)


@pytest.mark.parametrize(
    "change",
    [
        lambda lock: lock.replace("# dcf-lock 1", "# made by hand"),
        lambda lock: lock.replace("sha256:", "sha256:0", 1),
        lambda lock: "",
    ],
)
def test_a_lock_of_other_requirements_is_rejected(bench: Bench, change) -> None:
    folder = make_folder(bench.place / "f", "")
    packed = bench.pack(folder)
    artifact = bench.send(packed, change(bench.here.lock(packed.lock)))
    with pytest.raises(RequirementsInvalid, match=r"requirements\.lock: expected a lock of this"):
        bench.builder.build_artifact(artifact, SPEC)


def test_a_lock_for_a_watcher_with_other_requirements_is_rejected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = bench.send(bench.pack(make_folder(bench.place / "f", "")))
    other = replace(RuntimeWheel.installed(), requirements=("uvicorn>=99",))
    monkeypatch.setattr(RuntimeWheel, "installed", lambda: other)
    with pytest.raises(RequirementsInvalid, match="build again with DCF"):
        bench.builder.build_artifact(artifact, SPEC)


def test_a_lock_for_a_later_python_requires_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = bench.send(bench.pack(make_folder(bench.place / "f", "")))
    own = own_interpreter()
    older = replace(own, version="3.10.1")
    monkeypatch.setattr(rebuild, "own_interpreter", lambda: older)
    # The version that the lock requires is installed.
    assert bench.builder.build_artifact(artifact, SPEC).python.exists()
    monkeypatch.setattr(rebuild, "find_interpreter", lambda *_, **__: older)
    builder = make_builder(bench.there.root, bench.there_env, Heard())
    spec = replace(SPEC, python="3.10")
    message = r"expected Python 3\.\d+ or later, which the lock requires, got 3\.10\.1"
    with pytest.raises(InterpreterNotFound, match=message):
        builder.build_artifact(artifact, spec)


def make_slow(bench: Bench) -> Artifact:
    folder = make_folder(bench.place / "f", "./slow\n")
    make_slow_package(folder / "slow", bench.place)
    (bench.place / "go").touch()
    artifact = bench.send(bench.pack(folder))
    (bench.place / "go").unlink()
    (bench.place / "building").unlink(missing_ok=True)
    return artifact


class Build(threading.Thread):
    """A build on its own thread, as a gateway runs it."""

    def __init__(self, bench: Bench, artifact: Artifact, stop: BuildStop | None = None) -> None:
        super().__init__()
        self.heard = Heard()
        self.result: Environment | Exception | None = None
        self._build = lambda: bench.builder.build_artifact(
            artifact, SPEC, listener=self.heard, stop=stop
        )
        self.start()

    def run(self) -> None:
        try:
            self.result = self._build()
        except BuildError as error:
            self.result = error


def test_two_deploys_of_an_artifact_make_its_environment_once(bench: Bench) -> None:
    artifact = make_slow(bench)
    first = Build(bench, artifact)
    wait_until((bench.place / "building").exists)
    second = Build(bench, artifact)
    wait_until(lambda: second.heard.notices != [])
    (bench.place / "go").touch()
    first.join()
    second.join()
    assert first.result == second.result
    assert second.heard.steps == []
    assert second.heard.notices == ["Waiting for another build of the same environment"]


def test_a_build_is_cancelled_from_another_thread(bench: Bench) -> None:
    artifact = make_slow(bench)
    stop = BuildStop()
    build = Build(bench, artifact, stop)
    wait_until((bench.place / "building").exists)
    stop.set()
    build.join(20)
    assert type(build.result) is BuildError
    assert str(build.result) == "the build was cancelled"
    assert names(bench.there.environments) == []
    (bench.place / "go").touch()  # for what uv has started
    again = bench.builder.build_artifact(artifact, SPEC)
    assert run(again, "import slow; print(slow.x)") == "1"


def test_a_build_that_was_cancelled_before_it_began_starts_nothing(bench: Bench) -> None:
    artifact = bench.send(bench.pack(make_folder(bench.place / "f", "")))
    stop = BuildStop()
    stop.set()
    with pytest.raises(BuildError, match="cancelled"):
        bench.builder.build_artifact(artifact, SPEC, stop=stop)
    assert names(bench.there.environments) == []


def test_after_one_line_has_changed_one_blob_is_missing(bench: Bench) -> None:
    folder = make_folder(bench.place / "f", "")
    (folder / "model").write_bytes(bytes(5_000_000))
    bench.send(bench.pack(folder))
    (folder / "src" / "handler.py").write_text("def handle(req):\n    return b'new'\n")
    packed = bench.pack(folder)
    files = bench.here.bundle(packed.bundle).files
    uploads = Uploads(bench.there, most_bytes=1 << 30, most_files=1000)
    (missing,) = uploads.announce(files, bench.here.lock(packed.lock)).missing
    assert missing.digest == digest_of((folder / "src" / "handler.py").read_bytes())
