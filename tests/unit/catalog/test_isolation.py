"""An error of one function does not affect work for other functions."""

import logging
import sqlite3

import pytest

from dcf.catalog.catalog import Catalog
from dcf.catalog.isolation import LONGEST_DELAY, Isolation
from dcf.errors import CatalogUnusable, DiskFull
from dcf.model.artifact import Artifact
from dcf.model.desired import Wanted
from dcf.model.function import FunctionSpec
from dcf.model.observed import Observed, ReplicaKey
from dcf.model.replica import ReplicaState
from dcf.reconciler.reconcile import reconcile
from dcf.reconciler.types import StartReplica, View

ARTIFACT = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_error_is_logged_with_the_functions_name_and_does_not_flood(caplog):
    clock = Clock()
    isolation = Isolation("scaling", clock)
    with caplog.at_level(logging.ERROR, "dcf"):
        for _ in range(1000):
            with isolation.of("bad"):
                raise RuntimeError("why")
            clock.now += 0.1
    told = [one for one in caplog.records if "scaling of bad failed" in one.getMessage()]
    assert 5 <= len(told) <= 9
    assert not isolation.rests("good")
    assert isolation.rests("bad")
    clock.now += LONGEST_DELAY + 1
    assert not isolation.rests("bad")
    with isolation.of("bad"):
        pass
    assert not isolation.rests("bad")


def test_an_error_that_concerns_all_functions_leaves_the_block():
    isolation = Isolation("scaling")
    with pytest.raises(DiskFull), isolation.of("a", but=DiskFull):
        raise DiskFull("full")
    with pytest.raises(KeyboardInterrupt), isolation.of("a"):
        raise KeyboardInterrupt


def test_a_turn_continues_after_a_function_that_cannot_be_reconciled():
    broken = Observed(ReplicaKey("b", 1, 0, 1), ReplicaState.READY, endpoint=5)  # type: ignore[arg-type]
    another = Observed(ReplicaKey("b", 1, 1, 1), ReplicaState.READY, endpoint="unix:/x")
    wanted = [Wanted("a", 1, 1), Wanted("b", 1, 2), Wanted("c", 1, 1)]
    found = reconcile(wanted, View((broken, another)), 0.0)
    assert list(found.errors) == ["b"]
    started = [one.key.function for one in found.actions if isinstance(one, StartReplica)]
    assert started == ["a", "c"]


def test_a_function_whose_record_cannot_be_read_stays_unchanged():
    serving = Observed(ReplicaKey("a", 1, 0, 1), ReplicaState.READY, endpoint="unix:/x")
    found = reconcile([], View((serving,)), 0.0, unknown={"a"})
    assert found.actions == ()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("functions", "labels", "[" * 10_000),
        ("functions", "annotations", "5"),
        ("revisions", "spec", "[" * 10_000),
        ("revisions", "spec", '{"name":"bad","timeout":"x"}'),
        ("revisions", "spec", "5"),
        ("revisions", "spec", b"\xff"),
        ("functions", "share", "many"),
    ],
)
def test_an_unreadable_record_hides_no_other_record(tmp_path, table, column, value):
    path = tmp_path / "catalog.sqlite"
    with Catalog(path) as catalog:
        for name in ("bad", "good"):
            catalog.deploy(FunctionSpec(name), ARTIFACT)
        if column == "share":
            catalog.deploy(FunctionSpec("bad", timeout=7.0), ARTIFACT, canary=10.0)
    with sqlite3.connect(path) as connection:
        name = "name" if table == "functions" else "function"
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = 'bad'", (value,))
    connection.close()
    with Catalog(path) as catalog:
        assert "good" in [one.name for one in catalog.functions()]
        assert catalog.function("good").name == "good"
        assert catalog.names() == {"bad", "good"}
        assert "good" in [one.function for one in catalog.wanted()]
        if column != "share":
            with pytest.raises(CatalogUnusable, match="bad"):
                catalog.function("bad")
