"""Looks throughout: at the calls, at the processes, at the memory."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from chaos.begun import Begun
from chaos.chaos_gateway import SUPERVISOR, ChaosGateway, Process
from chaos.functions import ALL
from chaos.judge import AFTERMATH, UNSEEN, Call, Ending, Finding, judge, unexplained
from chaos.load import Load
from chaos.parts import Part
from chaos.spans import Facts, History, Kind
from dcf.errors import SupervisorError
from dcf.model.event import Event, EventKind
from dcf.model.observed import ReplicaKey

PERSISTS = 10.0
"""Seconds after which what two looks see differently is no matter of the moment between them."""

WARM = 10.0
"""Seconds after which a process has what it needs."""

NOTICED = 1.0
"""Seconds until the end of a process is seen and written down, beside what the supervisor stands
still."""

MOST_GROWTH = 64 * 1024**2
"""Bytes that a part of the gateway may grow by after that."""

MOST_MEMORY = 300 * 1024**2
"""Bytes that any may ever have. At rest they have some 70 MB each."""


ENDS = frozenset({EventKind.START_FAILED, EventKind.CRASHED})
"""Events that are the end of a replica."""

REPLICAS = "replicas"
"""Their name among the parts of the gateway whose memory is measured."""


@dataclass(slots=True)
class _Memory:
    since: float
    warm: int = 0
    most: int = 0


def faults(
    root: int,
    processes: Mapping[int, Process],
    replicas: Mapping[str, int],
    parts: Collection[int] = (),
) -> Iterator[str]:
    """What does not fit among the processes of a gateway, as far as one look tells.

    Args:
        root: The pid of ``gateway start``.
        processes: What descends from it, by pid.
        replicas: The living replicas that its supervisor knows: pids by name.
        parts: The pids of all others that it knows.
    """
    for one in processes.values():
        if one.pid != root and one.parent not in processes:
            yield f"orphan {one.pid}: {one.command}"
    watchers = {one.pid for one in processes.values() if "-m dcf.watcher" in one.command}
    for pid in sorted(watchers - set(replicas.values())):
        yield f"watcher {pid} that the supervisor does not know"
    supervisors = {one.pid for one in processes.values() if SUPERVISOR in one.command}
    known = {*replicas.values(), *parts}
    for one in processes.values():
        if one.parent in supervisors and one.pid not in known | watchers:
            yield f"the supervisor has a child {one.pid} that it does not know: {one.command}"
    places = Counter(
        (key.function, key.revision, key.slot) for key in map(ReplicaKey.from_id, replicas)
    )
    for (function, revision, slot), number in places.items():
        if number > 1:
            yield f"{number} replicas of {function} in place {slot} of revision {revision}"


def is_explained(event: Event, when: float, facts: Facts) -> bool:
    """Whether a replica ended because of something that was done.

    Args:
        event: A replica's end.
        when: Its time, in seconds of the monotonic clock.
        facts: What was done.
    """
    stopped = facts.during(Kind.SUPERVISOR, when - NOTICED, when)
    since = min((when - NOTICED, *(one.begin for one in stopped))) - AFTERMATH
    return facts.any(Kind.REPLICA, since, when + AFTERMATH, event.function)


class Inspector:
    """Keeps what was seen.

    Args:
        world: What is looked at.
        load: Whose calls are judged.
        history: By which they are.
        begun: Tells which of them have begun.
        without: Parts of chaos that are left out.

    Attributes:
        violations: What must not be, in words for people.
        most: The most bytes that each part of the gateway had, by name.
    """

    def __init__(
        self,
        world: ChaosGateway,
        load: Load,
        history: History,
        begun: Begun,
        without: Collection[Part] = (),
    ) -> None:
        self.violations: list[str] = []
        self.most: Counter[str] = Counter()
        self._world = world
        self._load = load
        self._history = history
        self._begun = begun
        self._without = without
        self._told: set[str] = set()
        self._judged = 0
        self._calm_since = math.inf
        self._since: dict[str, float] = {}
        self._memory: dict[int, _Memory] = {}

    def look(self) -> None:
        """Looks once at everything."""
        calls = self._load.calls(self._judged)
        self._judged += len(calls)
        self._judge(calls, self._history.facts())
        self._look_at_ends()
        try:
            replicas, parts = self._world.replicas(), self._world.parts()
        except SupervisorError:
            return
        processes = self._world.processes()
        self._look_at_processes(processes, replicas, parts.values())
        for pid in replicas.values():
            if pid in processes:
                self._look_at_memory(REPLICAS, processes[pid])
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
        calls, facts = self._load.calls(), self._history.facts()
        found = self._judge(calls, facts)
        unseen = [call for call in self._known(calls) if judge(call, facts).why == UNSEEN]
        for call in unexplained(unseen, facts):
            self._violated(self._about(call, "it had not begun, and was lost"))
        return found

    def _known(self, calls: Iterable[Call]) -> list[Call]:
        """The calls, with what is known of their beginnings."""
        self._begun.look()
        known = [replace(call, begun=self._begun.pids(call.id)) for call in calls]
        if Part.MOVING in self._without:
            # As if each that may have begun had.
            return [replace(call, begun=call.begun or (0,)) for call in known]
        return known

    def _judge(self, calls: Iterable[Call], facts: Facts) -> Counter[tuple[str, str, str]]:
        found: Counter[tuple[str, str, str]] = Counter()
        for call in self._known(calls):
            verdict = judge(call, facts)
            found[call.way, verdict.finding, verdict.why] += 1
            if verdict.finding is Finding.VIOLATION:
                self._violated(self._about(call, verdict.why))
            elif verdict.finding is Finding.ALLOWED and self._is_calm(call):
                self._violated(self._about(call, "it failed though all is calm"))
        return found

    def _is_calm(self, call: Call) -> bool:
        """Whether nothing that was done before can still be felt; a lost connection can."""
        return (call.connected if call.ending is Ending.BROKEN else call.begin) > self._calm_since

    def _about(self, call: Call, why: str) -> str:
        times = f"{self._history.at(call.begin)} to {self._history.at(call.end)}"
        return f"{call.way} call of {call.function}, {times}: {why} ({call.ending}: {call.detail})"

    def _look_at_ends(self) -> None:
        """Report replicas that ended without a cause."""
        facts, offset = self._history.facts(), time.time() - time.monotonic()
        for event in self._world.events(shape.name for shape in ALL):
            if event.kind not in ENDS or event.key in self._told:
                continue
            self._told.add(event.key)
            when = event.at - offset
            if not is_explained(event, when, facts):
                told = f"{event.replica} ended at {self._history.at(when)} without a cause"
                self._violated(f"{told}: {event.detail}")

    def _look_at_processes(
        self,
        processes: Mapping[int, Process],
        replicas: Mapping[str, int],
        parts: Collection[int],
    ) -> None:
        now = time.monotonic()
        found = set(faults(self._world.root, processes, replicas, parts))
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
        # A replica may hold the largest bodies and replies of the calls that it has.
        if name != REPLICAS and known.warm and known.most - known.warm > MOST_GROWTH:
            self._violated(f"{name} ({process.pid}) has grown by more than {MOST_GROWTH} bytes")
        if known.most > MOST_MEMORY:
            self._violated(f"{name} ({process.pid}) has more than {MOST_MEMORY} bytes")

    def _violated(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)
