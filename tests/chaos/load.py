"""The callers: which functions they call, how, and the outcome of each call."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from chaos.call_kinds import Grpc, Http, Invokes, Way, WebSocket
from chaos.careless import SlowBody, Unfinished, Unread
from chaos.functions import BUSY, ELASTIC, RARE, ROUGH, SINGLE, STEADY, Shape, body_of, version_of
from chaos.handler import REPORTS
from chaos.judge import AFTERMATH, Call, Ending
from chaos.parts import Part
from chaos.spans import History, Kind
from dcf.client.client import Client

REST = 0.2
"""Seconds between a call that could not connect and the next call, so that few calls are spent this
way."""

BUFFER = 1024 * 1024
"""Bytes of a body that the gateway keeps to send it again."""

BEHIND = 0.1
"""Seconds between a call and the calls that must queue behind it."""

GRACE = 5.0
"""Seconds that a handler may keep working after its function's `timeout`, before its process is
ended."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, and what it repeats.

    Attributes:
        way: The kind of its calls.
        functions: The functions to choose from.
        orders: The orders to the handler to choose from.
        size: Bytes to echo.
        pause: Maximum seconds between two calls.
        part: The part of chaos that it belongs to; None for a caller that always runs.
        behind: Number of simultaneous calls behind each call, over new connections.
        behind_order: The order of these calls.
        ends: Seconds after a call's end in which its replica may end because of it; None if its
            replica must not end.
        impatient: Whether its deadline may be too short.
        careless: Whether it misbehaves.
    """

    way: Way
    functions: Sequence[Shape]
    orders: Sequence[str]
    size: int
    pause: float
    part: Part | None = None
    behind: int = 0
    behind_order: str = "echo"
    ends: float | None = None
    impatient: bool = False
    careless: bool = False


def callers(port: int, client: Client) -> Iterator[Caller]:
    """Yield all callers.

    Args:
        port: The gateway's port.
        client: Client for the streaming callers.
    """
    slow = [f"sleep {tenths / 10}" for tenths in range(2, 9)]
    yield Caller(Http(port, "http", keep=True), BUSY, ["echo"], 100, 0.03)
    yield Caller(Http(port, "http, new connections", keep=False), BUSY, ["echo"], 100, 0.05)
    yield Caller(Http(port, "300 KB", keep=True), BUSY, ["echo"], 300_000, 0.1)
    yield Caller(Http(port, "3 MB", keep=True), BUSY, ["echo"], 3_000_000, 2.0)
    yield Caller(Http(port, "slow", keep=True), BUSY, slow, 50, 0.1)
    yield Caller(Http(port, "slow, new connections", keep=False), BUSY, slow, 50, 0.1)
    chunks = ["chunks 5", "chunks 20"]
    yield Caller(Http(port, "chunks", keep=True), BUSY, chunks, 20_000, 0.1)
    yield Caller(Grpc(port), BUSY, ["echo"], 100, 0.1)
    yield Caller(Invokes(port), BUSY, ["echo", "sleep 0.1"], 1000, 0.2)
    yield Caller(WebSocket(client), BUSY, ["echo", "sleep 0.1"], 1000, 0.2)
    yield Caller(Http(port, "from zero", keep=True), [RARE], ["echo"], 5_000, 6.0)
    yield from _hasty(port)
    yield from _rough(port)
    yield Caller(
        Http(port, "burst", keep=False), [ELASTIC], ["sleep 0.5"], 100, 6.0,
        part=Part.BURSTS, behind=11, behind_order="sleep 0.5",
    )  # fmt: skip
    # More calls than a replica has slots.
    yield Caller(
        Unfinished(port, 140), [SINGLE, STEADY], ["echo"], 1000, 20.0,
        part=Part.BODIES, careless=True,
    )  # fmt: skip
    yield Caller(SlowBody(port, 2.0, 20), BUSY, ["echo"], 100_000, 2.0, part=Part.BODIES)
    for _ in range(3):
        yield Caller(
            Unread(port), BUSY, ["big 8000000"], 100, 6.0, part=Part.UNREAD, careless=True
        )  # fmt: skip


def _hasty(port: int) -> Iterator[Caller]:
    """Yield callers that stop waiting before their handler is done. That must not end its
    replica."""
    soon = [f"sleep {tenths / 10}" for tenths in range(8)]
    for deadline in (0.1, 0.4):
        way = Http(port, f"within {deadline} s", keep=True, deadline=deadline)
        yield Caller(way, BUSY, soon, 50, 0.5, part=Part.DEADLINES, impatient=True)
    way = Http(port, "long overdue", keep=False, deadline=0.5)
    long = [f"sleep {GRACE + 1}"]
    yield Caller(way, [ELASTIC], long, 50, 20.0, part=Part.OVERDUE, impatient=True)


def _rough(port: int) -> Iterator[Caller]:
    """Yield callers whose handlers harm their own replica, and callers that wait behind them."""
    exits = [f"exit {code}" for code in (0, 1, 9)]
    yield Caller(
        Http(port, "exit", keep=False), [ROUGH], exits, 50, 30.0,
        part=Part.CRASHES, behind=8, ends=AFTERMATH,
    )  # fmt: skip
    yield Caller(
        Http(port, "hang", keep=False), [ROUGH], ["hang 60", "block 60"], 50, 60.0,
        part=Part.HANGS, behind=8, ends=2 * GRACE,
    )  # fmt: skip
    yield Caller(
        Http(port, "block", keep=False), [ELASTIC], ["block 1.5"], 50, 15.0,
        part=Part.HANGS, behind=4,
    )  # fmt: skip
    reports = [f"report {number}" for number in range(len(REPORTS))]
    yield Caller(
        Http(port, "report", keep=False), [ROUGH], reports, 50, 30.0,
        part=Part.REPORTS, behind=4, ends=GRACE,
    )  # fmt: skip
    yield Caller(
        Http(port, "fork", keep=True), [ELASTIC],
        ["pool 2", "pool 2", "terminate", "command", "stray 300"], 50, 6.0, part=Part.FORKS,
    )  # fmt: skip


class Load:
    """Runs all callers at once.

    Args:
        port: The gateway's port.
        client: Client for the streaming callers.
        seed: Seed of their random choices.
        history: Records when a handler is asked to end its replica.
        without: Parts of chaos to leave out.
    """

    def __init__(
        self,
        port: int,
        client: Client,
        seed: str,
        history: History,
        without: Collection[Part] = (),
    ) -> None:
        self._port = port
        self._history = history
        self._over = threading.Event()
        self._gentle = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._ids = itertools.count(1)
        self._quiet = 0.0
        self._threads: dict[threading.Thread, Caller] = {}
        # The numbers include the callers that are left out, so that the choices of the others do
        # not change.
        for number, caller in enumerate(callers(port, client)):
            if caller.part not in without:
                drawn = random.Random(f"{seed} {number}")
                thread = threading.Thread(target=self._run, args=(caller, drawn))
                self._threads[thread] = caller

    def start(self) -> None:
        """Start the callers."""
        for thread in self._threads:
            thread.start()

    def calm(self) -> None:
        """Stop the harmful callers, and wait until their effects are over."""
        self._gentle.set()
        for thread, caller in self._threads.items():
            if _does_harm(caller):
                thread.join()
        time.sleep(max(0.0, self._quiet - time.monotonic()))

    def stop(self) -> None:
        """Wait until every caller has completed its call."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def calls(self, after: int = 0) -> list[Call]:
        """Return the ended calls, in the order of their ends.

        Args:
            after: Number of calls to skip.
        """
        with self._lock:
            return self._calls[after:]

    def _run(self, caller: Caller, drawn: random.Random) -> None:
        over = self._gentle if _does_harm(caller) else self._over
        with contextlib.closing(caller.way):
            while not self._wait(over, drawn.uniform(0, caller.pause)):
                function = drawn.choice(caller.functions)
                payload = drawn.randbytes(caller.size // 2).hex()
                order = drawn.choice(caller.orders)
                others = [
                    threading.Thread(target=self._call_behind, args=(caller, function, payload))
                    for _ in range(caller.behind)
                ]
                timer = threading.Timer(BEHIND, _start, (others,))
                timer.start()
                call = self._call(caller, caller.way, function, order, payload)
                timer.join()
                for thread in others:
                    thread.join()
                if call.ending is Ending.BROKEN:
                    self._over.wait(REST)

    def _wait(self, over: threading.Event, seconds: float) -> bool:
        return over.wait(seconds) or self._over.is_set()

    def _call_behind(self, caller: Caller, function: Shape, payload: str) -> None:
        way = Http(self._port, f"{caller.way.name}, behind", keep=False)
        self._call(None, way, function, caller.behind_order, payload)

    def _call(
        self, caller: Caller | None, way: Way, function: Shape, order: str, payload: str
    ) -> Call:
        """Make a call; without a caller, an ordinary call."""
        number = f"{next(self._ids):x}"
        sent = body_of(number, order, payload)
        ends = caller.ends if caller is not None else None
        span = None
        if ends is not None:
            span = self._history.begin(Kind.REPLICA, function.name)
            self._history.note(f"{function.name}: call {number}: {order}")
        begin = time.monotonic()
        came = way.send(function.name, sent)
        end = time.monotonic()
        if span is not None and ends is not None:
            self._history.end(span, ends)
            self._quiet = max(self._quiet, end + ends)
        call = Call(
            function=function.name,
            way=way.name,
            connected=min(way.connected, begin),
            begin=begin,
            end=end,
            deadline=way.deadline,
            ending=came.ending,
            version=version_of(sent, came.body) if came.ending is Ending.REPLY else "",
            error=came.error,
            detail=came.detail,
            partial=came.partial,
            bridged=came.bridged,
            id=number,
            messages=way.messages,
            large=len(sent) > BUFFER,
            stream=way.messages > 1,
            timeout=function.timeout,
            impatient=caller is not None and caller.impatient,
            fatal=ends is not None,
            careless=caller is not None and caller.careless,
        )
        with self._lock:
            self._calls.append(call)
        return call


def _does_harm(caller: Caller) -> bool:
    return caller.careless or caller.ends is not None


def _start(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
