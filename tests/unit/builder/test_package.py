"""A folder becomes a package for a deploy."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcf.builder.builder import Builder
from dcf.builder.package import Package, package
from dcf.builder.store import Store
from dcf.errors import SecretNotFound, StorageError
from dcf.model.artifact import digest_of
from dcf.project.locate import Located, locate
from unit.builder.kit import (
    Heard,
    make_builder,
    make_folder,
    make_runtime_wheels,
    private_environment,
)


@pytest.fixture
def located(tmp_path: Path) -> Located:
    folder = make_folder(tmp_path / "f")
    (folder / "config.yaml").write_text("functions:\n  f:\n    environment_file: [vars.env]\n")
    (folder / "vars.env").write_text("A=1\n")
    return locate(None, folder / "config.yaml", folder)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def builder(tmp_path: Path, heard: Heard) -> Builder:
    env = private_environment(tmp_path, make_runtime_wheels(tmp_path / "wheels"))
    return make_builder(tmp_path / "store", env, heard)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def made(located: Located, builder: Builder, store: Store) -> Package:
    return package(located, builder, store)


def test_a_package_has_the_spec_the_files_and_the_lock(made, located):
    assert (made.spec.environment, made.spec.environment_file) == ({"A": "1"}, ())
    assert made.artifact.lock == digest_of(made.lock.encode())
    assert made.artifact.bundle == made.bundle.digest
    paths = {file.path: file for file in made.bundle.files}
    assert "requirements.lock" not in paths
    with made.open(paths["src/handler.py"].digest) as file:
        assert file.read() == (located.folder / "src" / "handler.py").read_bytes()


def test_environment_files_and_secrets_of_all_functions_are_excluded(
    located, builder, store, tmp_path
):
    folder, secrets = located.folder, tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "token").write_text("hush")
    (folder / "src" / "token").symlink_to(secrets / "token")
    (folder / "other.env").write_text("B=2\n")
    (folder / "config.yaml").write_text(
        "functions:\n  f:\n    environment_file: [vars.env]\n"
        "  g:\n    environment_file: [./other.env]\n    secrets: [token]\n"
    )
    function = locate("f", folder / "config.yaml", folder)
    made = package(function, builder, store, secrets=secrets)

    assert made.spec.environment == {"A": "1"}
    assert {file.path for file in made.bundle.files} == {"config.yaml", "src/handler.py"}


def test_no_environment_is_made_until_a_build_asks_for_one(made, located, builder, store, heard):
    assert heard.done == ["bundle", "lock"]

    built = builder.build(located.folder, located.spec)

    assert built.artifact == made.artifact
    assert heard.done[-1] == "environment"
    assert package(located, builder, store).fresh


def test_a_change_makes_another_package(made, located, builder, store):
    assert not made.fresh
    assert package(located, builder, store).fresh

    (located.folder / "src" / "handler.py").write_text("def handle(req): return b'new'\n")
    again = package(located, builder, store)

    assert not again.fresh
    assert again.artifact.bundle != made.artifact.bundle
    assert again.artifact.lock == made.artifact.lock


def test_a_missing_environment_file_is_reported_before_the_build(located, builder, store, heard):
    (located.folder / "vars.env").unlink()

    with pytest.raises(SecretNotFound, match=r"vars\.env"):
        package(located, builder, store)

    assert heard.steps == []


def test_a_blob_that_is_no_longer_in_the_store_is_reported(made, store):
    digest = made.bundle.files[0].digest
    store.blobs.path(digest).unlink()

    with pytest.raises(StorageError, match="build f again"):
        made.open(digest)
