"""What chaos finds wrong among processes."""

from __future__ import annotations

from chaos.inspector import faults
from chaos.world import Process

ROOT = Process(1, 0, "dcf-cli gateway start", 0)
PARENT = Process(2, 1, "python -m dcf.supervision", 0)


def watcher(pid: int, parent: int = 2) -> Process:
    return Process(pid, parent, "python -m dcf.watcher", 0)


def found(replicas: dict[str, int], *watchers: Process) -> list[str]:
    processes = {one.pid: one for one in (ROOT, PARENT, *watchers)}
    return list(faults(1, processes, replicas))


def test_what_fits_is_no_fault():
    assert found({"f.1.0.1-aa": 3, "f.1.1.1-bb": 4}, watcher(3), watcher(4)) == []
    assert found({"f.1.0.1-aa": 3, "f.2.0.1-bb": 4}, watcher(3), watcher(4)) == []


def test_orphans_strangers_and_doubles_are_found():
    assert found({"f.1.0.1-aa": 3}, watcher(3, parent=0)) == ["orphan 3: python -m dcf.watcher"]
    assert found({}, watcher(3)) == ["watcher 3 that the supervisor does not know"]
    double = {"f.1.0.1-aa": 3, "f.1.0.2-bb": 4}
    assert found(double, watcher(3), watcher(4)) == ["2 replicas of f in place 0 of revision 1"]
