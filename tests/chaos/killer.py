"""Kills replicas, control plane, bridge and Envoy, and stops every process of the gateway."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from chaos.chaos_gateway import ChaosGateway
from chaos.parts import Part
from chaos.spans import History, Kind
from dcf.errors import SupervisorError
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY
from process.supervised import alive

POLL = 0.05
"""Seconds between two polls for restarted parts."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
"""Range of seconds between two actions."""
SHORTEST_STOP, LONGEST_STOP = 0.2, 7.0
"""Range of seconds for which a process is stopped. The maximum exceeds the time after which the gateway ends
a stopped replica."""
BACK = 40.0
"""Seconds within which the control plane and Envoy must answer again: after several kills in a row
the supervisor waits for up to 5, the rest is for a busy machine."""
HEALED = {CONTROL: 10.0, BRIDGE: 10.0, ENVOY: 20.0}
"""Seconds after which the supervisor replaces a part that does not answer."""
KINDS = {CONTROL: Kind.CONTROL, BRIDGE: Kind.BRIDGE, ENVOY: Kind.ENVOY}
FREEZES = {
    "stop control plane": 60.0,
    "stop bridge": 40.0,
    "stop Envoy": 120.0,
    "stop control plane for a while": 40.0,
    "stop bridge for a while": 40.0,
    "stop Envoy for a while": 40.0,
    "stop supervisor for a while": 30.0,
    "stop first process for a while": 30.0,
}
"""Average seconds between two actions of each kind. While Envoy is stopped, calls prove nothing."""


@dataclass(frozen=True, slots=True)
class _Stopped:
    timer: threading.Timer
    span: int | None
    name: str


@dataclass(frozen=True, slots=True)
class _Gone:
    spans: tuple[int, ...]
    since: float
    most: float


class Killer:
    """Kills at random, in a thread of its own.

    Args:
        gateway: The gateway.
        history: Receives every action.
        seed: Seed of the random choices.
        without: Parts of chaos to leave out.

    Attributes:
        violations: The violations so far.
    """

    def __init__(
        self, gateway: ChaosGateway, history: History, seed: str, without: Collection[Part] = ()
    ) -> None:
        self.violations: list[str] = []
        self._gateway = gateway
        self._history = history
        self._drawn = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._stopped: dict[int, _Stopped] = {}
        self._frozen: list[int] = []
        self._gone: dict[str, _Gone] = {}
        self._rare = Rare({} if Part.FREEZES in without else FREEZES, f"{seed} freezes")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Continue every stopped process, and wait until every part answers."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._kill_until_over()
        except Exception as error:  # noqa: BLE001  the main thread reports it
            self.violations.append(f"the killer failed: {error!r}")
        finally:
            for pid, stop in tuple(self._stopped.items()):
                stop.timer.cancel()
                self._go_on(pid)
                stop.timer.join()
        self._wait_until_back()
        for pid in self._frozen:
            # No old process is left, unless it has not been replaced.
            _signal(pid, signal.SIGCONT)

    def _wait_until_back(self) -> None:
        end = (
            max((absence.since + absence.most for absence in self._gone.values()), default=0.0)
            + POLL
        )
        while self._gone and time.monotonic() < end:
            self._poll()
            time.sleep(POLL)

    def _kill_until_over(self) -> None:
        actions = [self._kill_replica] * 5 + [self._stop_replica] * 3
        actions += [self._kill_control] * 2 + [self._kill_envoy] * 2
        actions += [self._kill_bridge]
        freezes = self._freezes()
        due = time.monotonic()
        self._rare.start(due)
        while not self._over.wait(POLL):
            now = time.monotonic()
            self._poll()
            if now >= due:
                with contextlib.suppress(SupervisorError):
                    self._drawn.choice(actions)()
                due = now + self._drawn.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)
            for name in self._rare.due(now):
                with contextlib.suppress(SupervisorError):
                    freezes[name]()

    def _freezes(self) -> dict[str, Callable[[], None]]:
        return {
            "stop control plane": lambda: self._freeze_part(CONTROL),
            "stop bridge": lambda: self._freeze_part(BRIDGE),
            "stop Envoy": lambda: self._freeze_part(ENVOY),
            "stop control plane for a while": lambda: self._stop_part(CONTROL),
            "stop bridge for a while": lambda: self._stop_part(BRIDGE),
            "stop Envoy for a while": lambda: self._stop_part(ENVOY),
            "stop supervisor for a while": lambda: self._stop_process(
                "supervisor", self._gateway.supervisor, Kind.SUPERVISOR
            ),
            "stop first process for a while": lambda: self._stop_process(
                "gateway start", self._gateway.root, Kind.FIRST
            ),
        }

    def _poll(self) -> None:
        """Record which parts other than replicas answer again."""
        answers = {
            ENVOY: self._gateway.envoy_answers,
            CONTROL: self._gateway.control_answers,
            BRIDGE: self._gateway.bridge_answers,
        }
        for name, absence in tuple(self._gone.items()):
            if answers[name]():
                self._history.note(f"{name} answers again")
                for span in absence.spans:
                    self._history.end(span)
                del self._gone[name]
            elif time.monotonic() - absence.since > absence.most:
                late = f"{name} did not answer within {absence.most:g} s after it was killed or stopped"
                self.violations.append(late)
                del self._gone[name]

    def _choose(self) -> tuple[str, int] | None:
        """Return a replica that is not stopped."""
        replicas = sorted(
            item for item in self._gateway.replicas().items() if item[1] not in self._stopped
        )
        return self._drawn.choice(replicas) if replicas else None

    def _kill_replica(self) -> None:
        if (chosen := self._choose()) is None:
            return
        name, pid = chosen
        span = self._history.begin(Kind.REPLICA, name.partition(".")[0])
        _kill(pid)
        self._history.note(f"killed replica {name} ({pid})")
        self._history.end(span)

    def _stop_replica(self) -> None:
        if (chosen := self._choose()) is None:
            return
        name, pid = chosen
        seconds = self._drawn.uniform(SHORTEST_STOP, LONGEST_STOP)
        span = self._history.begin(Kind.REPLICA, name.partition(".")[0])
        self._stop(f"replica {name}", pid, seconds, span)

    def _stop_process(self, name: str, pid: int, kind: Kind) -> None:
        """Stop a process that is not replaced, for a while."""
        if pid and pid not in self._stopped:
            seconds = self._rare.drawn.uniform(SHORTEST_STOP, LONGEST_STOP)
            self._stop(name, pid, seconds, self._history.begin(kind))

    def _stop_part(self, name: str) -> None:
        """Stop a part for less time than it takes to be replaced."""
        if name in self._gone or not (pid := self._gateway.pid(name)):
            return
        self._gone[name] = self._away(name, BACK, still=True)
        self._stop(name, pid, self._rare.drawn.uniform(SHORTEST_STOP, LONGEST_STOP), None)

    def _freeze_part(self, name: str) -> None:
        """Stop a part until the supervisor replaces it."""
        if name in self._gone or not (pid := self._gateway.pid(name)):
            return
        self._gone[name] = self._away(name, HEALED[name] + BACK, still=True)
        self._frozen.append(pid)
        _signal(pid, signal.SIGSTOP)
        self._history.note(f"stopped {name} ({pid})")

    def _stop(self, name: str, pid: int, seconds: float, span: int | None) -> None:
        self._history.note(f"{name} ({pid}) is stopped for {seconds:.1f} s")
        _signal(pid, signal.SIGSTOP)
        # A separate thread: this thread waits for answers of stopped processes.
        timer = threading.Timer(seconds, self._go_on, (pid,))
        self._stopped[pid] = _Stopped(timer, span, name)
        timer.start()

    def _go_on(self, pid: int) -> None:
        if (stop := self._stopped.pop(pid, None)) is None:
            return
        _signal(pid, signal.SIGCONT)
        self._history.note(f"{stop.name} ({pid}) continues")
        if stop.span is not None:
            self._history.end(stop.span)

    def _kill_control(self) -> None:
        self._kill_part(CONTROL)

    def _kill_envoy(self) -> None:
        self._kill_part(ENVOY)

    def _kill_bridge(self) -> None:
        self._kill_part(BRIDGE)

    def _kill_part(self, name: str) -> None:
        if name in self._gone or not (pid := self._gateway.pid(name)):
            return
        self._gone[name] = self._away(name, BACK)
        _kill(pid)
        self._history.note(f"killed {name} ({pid})")

    def _away(self, name: str, most: float, *, still: bool = False) -> _Gone:
        spans = [self._history.begin(KINDS[name])]
        if still and name == ENVOY:
            spans.append(self._history.begin(Kind.STILL))
        return _Gone(tuple(spans), time.monotonic(), most)


class Rare:
    """Schedules rare actions: each at random, with its own average interval.

    Args:
        means: Average seconds between two actions, by name.
        seed: Seed of the times.

    Attributes:
        drawn: The generator of their other random choices.
    """

    def __init__(self, means: Mapping[str, float], seed: str) -> None:
        self.drawn = random.Random(seed)
        self._means = means
        self._times = {name: random.Random(f"{seed} {name}") for name in means}
        self._due: dict[str, float] = {}

    def start(self, now: float) -> None:
        """Start the clock."""
        self._due = {name: now + self._pause(name) for name in self._means}

    def due(self, now: float) -> list[str]:
        """Return the actions that are due now."""
        names = [name for name, due in self._due.items() if due <= now]
        for name in names:
            self._due[name] = now + self._pause(name)
        return names

    def _pause(self, name: str) -> float:
        # At least half of the mean, so that no action ever fills a run.
        mean = self._means[name]
        return mean / 2 + self._times[name].expovariate(2 / mean)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill(pid: int) -> None:
    """Kill a process with SIGKILL, and wait until it is gone."""
    _signal(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)
