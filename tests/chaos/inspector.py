"""Looks throughout: at the calls, at the processes, at the memory."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chaos.judge import Call, Ending, Finding, judge
from chaos.load import Load
from chaos.spans import Facts, History
from chaos.world import Process, World
from dcf.control.view import ReplicaKey
from dcf.errors import SupervisorError

PERSISTS = 10.0
"""Seconds after which what two looks see differently is no matter of the moment between them."""

WARM = 10.0
"""Seconds after which a process has what it needs."""

MOST_GROWTH = 64 * 1024**2
"""Bytes that a part of the gateway may grow by after that."""

MOST_MEMORY = 300 * 1024**2
"""Bytes that any may ever have. At rest they have some 70 MB each."""


@dataclass(slots=True)
class _Memory:
    since: float
    warm: int = 0
    most: int = 0


def faults(
    root: int, processes: Mapping[int, Process], replicas: Mapping[str, int]
) -> Iterator[str]:
    """What does not fit among the processes of a gateway, as far as one look tells.

    Args:
        root: The pid of ``gateway start``.
        processes: What descends from it, by pid.
        replicas: The living replicas that its supervisor knows: pids by name.
    """
    for one in processes.values():
        if one.pid != root and one.parent not in processes:
            yield f"orphan {one.pid}: {one.command}"
    watchers = {one.pid for one in processes.values() if "-m dcf.watcher" in one.command}
    for pid in sorted(watchers - set(replicas.values())):
        yield f"watcher {pid} that the supervisor does not know"
    places = Counter(
        (key.function, key.revision, key.slot) for key in map(ReplicaKey.from_id, replicas)
    )
    for (function, revision, slot), number in places.items():
        if number > 1:
            yield f"{number} replicas of {function} in place {slot} of revision {revision}"


class Inspector:
    """Keeps what was seen.

    Args:
        world: What is looked at.
        load: Whose calls are judged.
        history: By which they are.

    Attributes:
        violations: What must not be, in words for people.
        most: The most bytes that each part of the gateway had, by name.
    """

    def __init__(self, world: World, load: Load, history: History) -> None:
        self.violations: list[str] = []
        self.most: Counter[str] = Counter()
        self._world = world
        self._load = load
        self._history = history
        self._judged = 0
        self._calm_since = math.inf
        self._since: dict[str, float] = {}
        self._memory: dict[int, _Memory] = {}

    def look(self) -> None:
        """Looks once at everything."""
        calls = self._load.calls(self._judged)
        self._judged += len(calls)
        self._judge(calls, self._history.facts())
        try:
            replicas, parts = self._world.replicas(), self._world.parts()
        except SupervisorError:
            return
        processes = self._world.processes()
        self._look_at_processes(processes, replicas)
        for name, pid in parts.items():
            if pid in processes:
                self._look_at_memory(name, processes[pid])

    def expect_calm(self) -> None:
        """From now on nothing may fail, whatever was done before."""
        self._calm_since = time.monotonic()

    def judge_all(self) -> Counter[tuple[str, str, str]]:
        """Judges every call by all that is known in the end.

        Returns:
            How many calls came to what, by way, finding and cause.
        """
        return self._judge(self._load.calls(), self._history.facts())

    def _judge(self, calls: Iterable[Call], facts: Facts) -> Counter[tuple[str, str, str]]:
        found: Counter[tuple[str, str, str]] = Counter()
        for call in calls:
            verdict = judge(call, facts)
            found[call.way, verdict.finding, verdict.why] += 1
            if verdict.finding is Finding.VIOLATION:
                self._violated(self._told(call, verdict.why))
            elif verdict.finding is Finding.ALLOWED and self._is_calm(call):
                self._violated(self._told(call, "it failed though all is calm"))
        return found

    def _is_calm(self, call: Call) -> bool:
        """Whether nothing that was done before can still be felt; a lost connection can."""
        return (call.connected if call.ending is Ending.BROKEN else call.begin) > self._calm_since

    def _told(self, call: Call, why: str) -> str:
        times = f"{self._history.at(call.begin)} to {self._history.at(call.end)}"
        return f"{call.way} call of {call.function}, {times}: {why} ({call.ending}: {call.detail})"

    def _look_at_processes(
        self, processes: Mapping[int, Process], replicas: Mapping[str, int]
    ) -> None:
        now = time.monotonic()
        found = set(faults(self._world.root, processes, replicas))
        self._since = {fault: self._since.get(fault, now) for fault in found}
        for fault, since in self._since.items():
            if now - since > PERSISTS:
                self._violated(fault)

    def _look_at_memory(self, name: str, process: Process) -> None:
        now = time.monotonic()
        known = self._memory.setdefault(process.pid, _Memory(now))
        known.most = max(known.most, process.memory)
        self.most[name] = max(self.most[name], process.memory)
        if not known.warm and now - known.since > WARM:
            known.warm = known.most
        if known.warm and known.most - known.warm > MOST_GROWTH:
            self._violated(f"{name} ({process.pid}) has grown by more than {MOST_GROWTH} bytes")
        if known.most > MOST_MEMORY:
            self._violated(f"{name} ({process.pid}) has more than {MOST_MEMORY} bytes")

    def _violated(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)
