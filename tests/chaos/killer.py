"""Kills replicas, control plane, bridge and Envoy, and has replicas stand still for a while."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from dataclasses import dataclass

from chaos.spans import History, Kind
from chaos.world import World
from dcf.errors import SupervisorError
from dcf.gateway.processes import BRIDGE, CONTROL, ENVOY
from process.supervised import alive

LOOK = 0.05
"""Seconds between two looks at who is back."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
"""Seconds between two deeds."""
SHORTEST_STOP, LONGEST_STOP = 0.2, 7.0
"""Seconds for which a replica stands still: more than the gateway lets it, at the longest."""
BACK = 40.0
"""Seconds within which the control plane and Envoy must answer again: after several kills in a row
the supervisor waits for up to 5, the rest is a busy machine's."""


@dataclass(frozen=True, slots=True)
class _Stopped:
    pid: int
    due: float
    span: int
    name: str


class Killer:
    """Kills at random, in a thread of its own.

    Args:
        world: Whose processes.
        history: Hears of it all.
        seed: Of what is drawn.

    Attributes:
        violations: What must not be.
    """

    def __init__(self, world: World, history: History, seed: str) -> None:
        self.violations: list[str] = []
        self._world = world
        self._history = history
        self._drawn = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._stopped: list[_Stopped] = []
        self._gone: dict[str, tuple[int, float]] = {}

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Has everything go on that stands still, and waits until all is back."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._kill_until_over()
        except Exception as error:  # noqa: BLE001  a thread's errors are told by whoever started it
            self.violations.append(f"the killer failed: {error!r}")
        finally:
            for one in self._stopped:
                self._go_on(one)
        end = time.monotonic() + BACK
        while self._gone and time.monotonic() < end:
            self._look()
            time.sleep(LOOK)

    def _kill_until_over(self) -> None:
        deeds = [self._kill_replica] * 5 + [self._stop_replica] * 3
        deeds += [self._kill_control] * 2 + [self._kill_envoy] * 2
        deeds += [self._kill_bridge]
        due = time.monotonic()
        while not self._over.wait(LOOK):
            now = time.monotonic()
            self._look()
            for one in [one for one in self._stopped if one.due <= now]:
                self._stopped.remove(one)
                self._go_on(one)
            if now >= due:
                with contextlib.suppress(SupervisorError):
                    self._drawn.choice(deeds)()
                due = now + self._drawn.uniform(SHORTEST_PAUSE, LONGEST_PAUSE)

    def _look(self) -> None:
        """Notes which of the parts that are not replicas are back."""
        answers = {
            ENVOY: self._world.envoy_answers,
            CONTROL: self._world.control_answers,
            BRIDGE: self._world.bridge_answers,
        }
        for name, (span, since) in tuple(self._gone.items()):
            if answers[name]():
                self._history.note(f"{name} answers again")
                self._history.end(span)
                del self._gone[name]
            elif time.monotonic() - since > BACK:
                self.violations.append(f"{name} did not answer within {BACK:g} s after a kill")
                del self._gone[name]

    def _choose(self) -> tuple[str, int] | None:
        """A replica that does not stand still."""
        still = {one.pid for one in self._stopped}
        found = sorted(item for item in self._world.replicas().items() if item[1] not in still)
        return self._drawn.choice(found) if found else None

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
        self._history.note(f"replica {name} ({pid}) stands still for {seconds:.1f} s")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self._stopped.append(_Stopped(pid, time.monotonic() + seconds, span, name))

    def _go_on(self, one: _Stopped) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGCONT)
        self._history.note(f"replica {one.name} ({one.pid}) goes on")
        self._history.end(one.span)

    def _kill_control(self) -> None:
        self._kill_part(CONTROL, Kind.CONTROL)

    def _kill_envoy(self) -> None:
        self._kill_part(ENVOY, Kind.ENVOY)

    def _kill_bridge(self) -> None:
        self._kill_part(BRIDGE, Kind.BRIDGE)

    def _kill_part(self, name: str, kind: Kind) -> None:
        if name in self._gone or not (pid := self._world.pid(name)):
            return
        self._gone[name] = (self._history.begin(kind), time.monotonic())
        _kill(pid)
        self._history.note(f"killed {name} ({pid})")


def _kill(pid: int) -> None:
    """Ends a process as nothing else does, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)
