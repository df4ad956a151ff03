"""The catalog's file: schema, mode, and rejection of other files."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from dcf.catalog.catalog import Catalog
from dcf.catalog.database import Database
from dcf.catalog.migrations import APPLICATION_ID, MIGRATIONS
from dcf.errors import CatalogUnusable, StorageError
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec
from dcf.model.scaling import Scaling

FIRST = Path(__file__).with_name("catalog_1.sql")
"""A catalog with the first version of the schema."""

LATER = (
    *MIGRATIONS,
    (
        "ALTER TABLE functions ADD COLUMN pace REAL NOT NULL DEFAULT 1.0",
        "UPDATE functions SET pace = 2.0 WHERE name = 'hello'",
    ),
)
BROKEN = (*LATER, ("CREATE TABLE half (x)", "INSERT INTO nowhere VALUES (1)"))


def first(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())
    return path


def schema(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        return connection.execute(query).fetchall()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


# Schema


def test_a_file_of_the_first_version_is_read(tmp_path):
    with Catalog(first(tmp_path / "old.db")) as catalog:
        names = [record.name for record in catalog.functions()]
        hello = catalog.function("hello")
        assert catalog.deploy(FunctionSpec("gone"), Artifact("b", "l")).number == 5
        assert [event.detail for event in catalog.event_log.events("hello")] == ["exit code 1"]
        assert catalog.keys.in_force("sha256:aa") is not None

    assert names == ["hello", "other"]
    assert (hello.current.number, hello.scaling, hello.invocations) == (2, Scaling(1, 4, 2), 17)
    assert hello.current.spec == FunctionSpec("hello", timeout=2.5, secrets=("token",))
    with Catalog(tmp_path / "new.db"):
        pass
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


def test_a_migration_keeps_the_data(tmp_path):
    path = first(tmp_path / "old.db")
    database = Database(path, LATER)
    with database.reading() as connection:
        paces = connection.execute("SELECT name, pace FROM functions ORDER BY name").fetchall()
    database.close()
    assert (paces, version(path)) == ([("hello", 2.0), ("other", 1.0)], len(LATER))
    Database(path, LATER).close()


def test_a_failed_migration_leaves_the_previous_schema(tmp_path):
    path = first(tmp_path / "old.db")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Database(path, BROKEN)
    assert version(path) == len(LATER)
    assert "half" not in [row[1] for row in schema(path)]
    Database(path, LATER).close()


def test_a_newer_file_is_rejected_unchanged(tmp_path):
    path = first(tmp_path / "newer.db")
    Database(path, LATER).close()
    before = path.read_bytes()
    with pytest.raises(
        CatalogUnusable, match=r"newer version of DCF: expected a schema up to 3, got 4"
    ):
        Catalog(path)
    assert path.read_bytes() == before


# Files that are not a catalog


@pytest.mark.parametrize(
    "content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"]
)
def test_a_file_that_is_not_a_database_is_rejected_unchanged(tmp_path, content):
    path = tmp_path / "catalog.db"
    path.write_bytes(content)
    with pytest.raises(CatalogUnusable, match=r"catalog\.db is damaged or not a catalog"):
        Catalog(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_rejected_unchanged(tmp_path):
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(CatalogUnusable, match="of another program"):
        Catalog(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["pages", "half"])
def test_a_damaged_catalog_is_rejected_unchanged(tmp_path, place):
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog:
        for number in range(200):
            catalog.deploy(FunctionSpec(f"f{number}"), Artifact(str(number), "l"))
    content = bytearray(path.read_bytes())
    if place == "half":
        del content[len(content) // 2 :]
    else:
        content[8192:40960] = b"\xa5" * (40960 - 8192)
    path.write_bytes(content)
    with pytest.raises(CatalogUnusable, match=r"catalog\.db is damaged"):
        Catalog(path)
    assert path.read_bytes() == content


def test_later_damage_is_reported_as_damage(tmp_path):
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog:
        for number in range(200):
            catalog.deploy(FunctionSpec(f"f{number}"), Artifact(str(number), "l"))
    with Catalog(path) as catalog:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        with pytest.raises(CatalogUnusable, match="damaged"):
            catalog.functions()


def test_a_path_that_cannot_be_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Catalog(tmp_path / "file" / "catalog.db")


def test_a_file_that_another_process_has_locked_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("dcf.catalog.database.BUSY_TIMEOUT", 0.05)
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked by another process"):
            catalog.deploy(FunctionSpec("f"), Artifact("b", "l"))
        assert catalog.functions() == []
        other.execute("ROLLBACK")
        catalog.deploy(FunctionSpec("f"), Artifact("b", "l"))


# The file


def test_the_file_is_private_and_writes_wait_for_the_disk(tmp_path):
    path = tmp_path / "new" / "catalog.db"
    with Catalog(path) as catalog:
        catalog.deploy(FunctionSpec("f"), Artifact("b", "l"))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert len(list(path.parent.iterdir())) == 3
        with catalog._database.reading() as connection:
            ask = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "application_id")
            }
    assert ask == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "application_id": APPLICATION_ID,
    }
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["catalog.db"]


def test_the_data_of_a_deleted_function_is_erased_from_the_file(tmp_path):
    path = tmp_path / "catalog.db"
    with Catalog(path) as catalog:
        catalog.deploy(FunctionSpec("f", environment={"A": "very-private"}), Artifact("b", "l"))
    assert b"very-private" in path.read_bytes()
    with Catalog(path) as catalog:
        catalog.delete("f")
    assert b"very-private" not in path.read_bytes()


def test_an_error_that_the_disk_does_not_explain_is_not_translated(tmp_path):
    database = Database(None)
    with pytest.raises(sqlite3.OperationalError, match="syntax"), database.reading() as connection:
        connection.execute("no SQL")
    with database.writing() as connection:
        connection.execute("INSERT INTO numbers VALUES ('f', 1)")
    database.close()
