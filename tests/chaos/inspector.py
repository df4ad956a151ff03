"""Checks the calls, the processes and the memory throughout the run."""

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
"""Seconds for which a difference between two polls may be a race."""

WARM = 10.0
"""Seconds after which a process has allocated its working memory."""

NOTICED = 1.0
"""Seconds until the end of a process is detected and recorded, in addition to any stop of the
supervisor."""

MOST_GROWTH = 64 * 1024**2
"""Bytes that a part of the gateway may grow by after that."""

MOST_MEMORY = 300 * 1024**2
"""Maximum bytes of any part. An idle part has some 70 MB."""


ENDS = frozenset({EventKind.START_FAILED, EventKind.CRASHED})
"""Events that are the end of a replica."""

REPLICAS = "replicas"
"""The replicas' name among the parts of the gateway whose memory is measured."""


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
    """Yield what is wrong among the processes of a gateway, as far as a single poll can tell.

    Args:
        root: The pid of ``gateway start``.
        processes: Its descendants, by pid.
        replicas: The living replicas that its supervisor knows: pids by name.
        parts: The pids of all other processes that it knows.
    """
    for process in processes.values():
        if process.pid != root and process.parent not in processes:
            yield f"orphan {process.pid}: {process.command}"
    watchers = {
        process.pid for process in processes.values() if "-m dcf.watcher" in process.command
    }
    for pid in sorted(watchers - set(replicas.values())):
        yield f"watcher {pid} that the supervisor does not know"
    supervisors = {process.pid for process in processes.values() if SUPERVISOR in process.command}
    known = {*replicas.values(), *parts}
    for process in processes.values():
        if process.parent in supervisors and process.pid not in known | watchers:
            yield f"the supervisor has a child {process.pid} that it does not know: {process.command}"
    places = Counter(
        (key.function, key.revision, key.slot) for key in map(ReplicaKey.from_id, replicas)
    )
    for (function, revision, slot), number in places.items():
        if number > 1:
            yield f"{number} replicas of {function} in place {slot} of revision {revision}"


def is_explained(event: Event, when: float, facts: Facts) -> bool:
    """Return whether an action explains the end of a replica.

    Args:
        event: The end of a replica.
        when: Its time, in seconds of the monotonic clock.
        facts: What was done.
    """
    stopped = facts.during(Kind.SUPERVISOR, when - NOTICED, when)
    since = min((when - NOTICED, *(span.begin for span in stopped))) - AFTERMATH
    return facts.any(Kind.REPLICA, since, when + AFTERMATH, event.function)


class Inspector:
    """Polls the gateway and collects violations.

    Args:
        gateway: The gateway.
        load: The load, whose calls are judged.
        history: The actions by which they are judged.
        begun: The record of the calls that have begun.
        without: Parts of chaos that are left out.

    Attributes:
        violations: The violations, in words for people.
        most: The maximum bytes of each part of the gateway, by name.
    """

    def __init__(
        self,
        gateway: ChaosGateway,
        load: Load,
        history: History,
        begun: Begun,
        without: Collection[Part] = (),
    ) -> None:
        self.violations: list[str] = []
        self.most: Counter[str] = Counter()
        self._gateway = gateway
        self._load = load
        self._history = history
        self._begun = begun
        self._without = without
        self._told: set[str] = set()
        self._judged = 0
        self._calm_since = math.inf
        self._since: dict[str, float] = {}
        self._memory: dict[int, _Memory] = {}

    def poll(self) -> None:
        """Poll everything once."""
        calls = self._load.calls(self._judged)
        self._judged += len(calls)
        self._judge(calls, self._history.facts())
        self._check_ends()
        try:
            replicas, parts = self._gateway.replicas(), self._gateway.parts()
        except SupervisorError:
            return
        processes = self._gateway.processes()
        self._check_processes(processes, replicas, parts.values())
        for pid in replicas.values():
            if pid in processes:
                self._check_memory(REPLICAS, processes[pid])
        for name, pid in parts.items():
            if pid in processes:
                self._check_memory(name, processes[pid])

    def expect_calm(self) -> None:
        """Treat every later failure as a violation, whatever was done before."""
        self._calm_since = time.monotonic()

    def judge_all(self) -> Counter[tuple[str, str, str]]:
        """Judge every call by everything that is known at the end.

        Returns:
            The number of calls by kind, finding and cause.
        """
        calls, facts = self._load.calls(), self._history.facts()
        counts = self._judge(calls, facts)
        unseen = [call for call in self._known(calls) if judge(call, facts).why == UNSEEN]
        for call in unexplained(unseen, facts):
            self._violated(self._about(call, "it had not begun, and was lost"))
        return counts

    def _known(self, calls: Iterable[Call]) -> list[Call]:
        """Return the calls, with what is known of their beginnings."""
        self._begun.read()
        known = [replace(call, begun=self._begun.pids(call.id)) for call in calls]
        if Part.MOVING in self._without:
            # Treat each call that may have begun as begun.
            return [replace(call, begun=call.begun or (0,)) for call in known]
        return known

    def _judge(self, calls: Iterable[Call], facts: Facts) -> Counter[tuple[str, str, str]]:
        counts: Counter[tuple[str, str, str]] = Counter()
        for call in self._known(calls):
            verdict = judge(call, facts)
            counts[call.way, verdict.finding, verdict.why] += 1
            if verdict.finding is Finding.VIOLATION:
                self._violated(self._about(call, verdict.why))
            elif verdict.finding is Finding.ALLOWED and self._is_calm(call):
                self._violated(self._about(call, "it failed during the calm phase"))
        return counts

    def _is_calm(self, call: Call) -> bool:
        """Return whether no earlier action can affect the call any more; a lost connection can."""
        return (call.connected if call.ending is Ending.BROKEN else call.begin) > self._calm_since

    def _about(self, call: Call, why: str) -> str:
        times = f"{self._history.at(call.begin)} to {self._history.at(call.end)}"
        return f"{call.way} call of {call.function}, {times}: {why} ({call.ending}: {call.detail})"

    def _check_ends(self) -> None:
        """Report replicas that ended without a cause."""
        facts, offset = self._history.facts(), time.time() - time.monotonic()
        for event in self._gateway.events(shape.name for shape in ALL):
            if event.kind not in ENDS or event.key in self._told:
                continue
            self._told.add(event.key)
            when = event.at - offset
            if not is_explained(event, when, facts):
                ending = f"{event.replica} ended at {self._history.at(when)} without a cause"
                self._violated(f"{ending}: {event.detail}")

    def _check_processes(
        self,
        processes: Mapping[int, Process],
        replicas: Mapping[str, int],
        parts: Collection[int],
    ) -> None:
        now = time.monotonic()
        current = set(faults(self._gateway.root, processes, replicas, parts))
        self._since = {fault: self._since.get(fault, now) for fault in current}
        for fault, since in self._since.items():
            if now - since > PERSISTS:
                self._violated(fault)

    def _check_memory(self, name: str, process: Process) -> None:
        now = time.monotonic()
        known = self._memory.setdefault(process.pid, _Memory(now))
        known.most = max(known.most, process.memory)
        self.most[name] = max(self.most[name], process.memory)
        if not known.warm and now - known.since > WARM:
            known.warm = known.most
        # A replica may hold the largest bodies and replies of its calls.
        if name != REPLICAS and known.warm and known.most - known.warm > MOST_GROWTH:
            self._violated(f"{name} ({process.pid}) has grown by more than {MOST_GROWTH} bytes")
        if known.most > MOST_MEMORY:
            self._violated(f"{name} ({process.pid}) has more than {MOST_MEMORY} bytes")

    def _violated(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)
