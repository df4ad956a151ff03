"""The faults that chaos detects among processes."""

from __future__ import annotations

from chaos.chaos_gateway import Process
from chaos.inspector import faults, is_explained
from chaos.spans import Facts, Kind, Span
from dcf.model.event import Event, EventKind

ROOT = Process(1, 0, "dcf-cli gateway start", 0)
PARENT = Process(2, 1, "python -m dcf.supervision", 0)


def watcher(pid: int, parent: int = 2) -> Process:
    return Process(pid, parent, "python -m dcf.watcher", 0)


def faults_of(replicas: dict[str, int], *watchers: Process) -> list[str]:
    processes = {process.pid: process for process in (ROOT, PARENT, *watchers)}
    return list(faults(1, processes, replicas))


def test_a_healthy_gateway_has_no_faults():
    assert faults_of({"f.1.0.1-aa": 3, "f.1.1.1-bb": 4}, watcher(3), watcher(4)) == []
    assert faults_of({"f.1.0.1-aa": 3, "f.2.0.1-bb": 4}, watcher(3), watcher(4)) == []


def test_orphans_unknown_watchers_and_duplicates_are_faults():
    assert faults_of({"f.1.0.1-aa": 3}, watcher(3, parent=0)) == ["orphan 3: python -m dcf.watcher"]
    assert faults_of({}, watcher(3)) == ["watcher 3 that the supervisor does not know"]
    double = {"f.1.0.1-aa": 3, "f.1.0.2-bb": 4}
    assert faults_of(double, watcher(3), watcher(4)) == ["2 replicas of f in place 0 of revision 1"]


def test_an_unknown_child_of_the_supervisor_is_a_fault():
    orphan = Process(5, 2, "sleep 300", 0)
    envoy = Process(6, 2, "envoy", 0)
    processes = {process.pid: process for process in (ROOT, PARENT, watcher(3), orphan, envoy)}
    [fault] = faults(1, processes, {"f.1.0.1-aa": 3}, [6])
    assert fault == "the supervisor has a child 5 that it does not know: sleep 300"
    of_a_replica = Process(5, 3, "sleep 300", 0)
    assert list(faults(1, {**processes, 5: of_a_replica}, {"f.1.0.1-aa": 3}, [6])) == []


CRASH = Event("f", EventKind.CRASHED, 0, 1, "key", "f.1.0.1-aa", "killed")


def test_the_end_of_a_replica_needs_a_cause():
    def explained(*spans: Span) -> bool:
        return is_explained(CRASH, 50, Facts(spans))

    assert explained(Span(Kind.REPLICA, 49, 49.5, "f"))
    assert explained(Span(Kind.REPLICA, 40, 60, "f"))
    assert not explained()
    assert not explained(Span(Kind.REPLICA, 40, 41, "f"))
    assert not explained(Span(Kind.REPLICA, 49, 49.5, "g"))
    assert not explained(Span(Kind.CONTROL, 40, 60), Span(Kind.ENVOY, 40, 60))
    assert explained(Span(Kind.REPLICA, 40, 41, "f"), Span(Kind.SUPERVISOR, 41, 49.5))
