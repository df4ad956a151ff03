"""Callers: who calls what, how, and what became of each call."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.functions import BUSY, RARE, Shape, version_of
from chaos.judge import Call, Ending
from chaos.ways import DEADLINE, Grpc, Http, Invokes, Way, WebSocket
from dcf.client.gateway import Client

REST = 0.2
"""Seconds before another call after one that met nobody, so that few calls are spent so."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What one caller does, again and again.

    Attributes:
        way: How.
        functions: Of which one is called.
        orders: What the handler is told to do, of which one is drawn.
        size: Bytes to be echoed.
        pause: Seconds between two calls at the most.
    """

    way: Way
    functions: Sequence[Shape]
    orders: Sequence[str]
    size: int
    pause: float


def callers(port: int, client: Client) -> list[Caller]:
    """Everyone.

    Args:
        port: The gateway's.
        client: For those who stream.
    """
    slow = [f"sleep {tenths / 10}" for tenths in range(2, 9)]
    return [
        Caller(Http(port, "http", keep=True), BUSY, ["echo"], 100, 0.03),
        Caller(Http(port, "http, new connections", keep=False), BUSY, ["echo"], 100, 0.05),
        Caller(Http(port, "300 KB", keep=True), BUSY, ["echo"], 300_000, 0.1),
        Caller(Http(port, "slow", keep=True), BUSY, slow, 50, 0.1),
        Caller(Http(port, "slow, new connections", keep=False), BUSY, slow, 50, 0.1),
        Caller(Http(port, "chunks", keep=True), BUSY, ["chunks 5", "chunks 20"], 20_000, 0.1),
        Caller(Grpc(port), BUSY, ["echo"], 100, 0.1),
        Caller(Invokes(port), BUSY, ["echo", "sleep 0.1"], 1000, 0.2),
        Caller(WebSocket(client), BUSY, ["echo", "sleep 0.1"], 1000, 0.2),
        Caller(Http(port, "from zero", keep=True), [RARE], ["echo"], 5_000, 6.0),
    ]


class Load:
    """All callers at once.

    Args:
        port: The gateway's.
        client: For those who stream.
        seed: Of what they draw.
    """

    def __init__(self, port: int, client: Client, seed: str) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._threads = [
            threading.Thread(target=self._run, args=(one, random.Random(f"{seed} {number}")))
            for number, one in enumerate(callers(port, client))
        ]

    def start(self) -> None:
        """Lets them begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits until everybody has ended what he had begun."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def calls(self, after: int = 0) -> list[Call]:
        """The calls that are over, in the order of their ends.

        Args:
            after: How many of the first ones to leave out.
        """
        with self._lock:
            return self._calls[after:]

    def _run(self, one: Caller, drawn: random.Random) -> None:
        with contextlib.closing(one.way):
            while not self._over.wait(drawn.uniform(0, one.pause)):
                function = drawn.choice(one.functions).name
                payload = drawn.randbytes(one.size // 2).hex()
                sent = f"{drawn.choice(one.orders)}\n{payload}".encode()
                begin = time.monotonic()
                came = one.way.send(function, sent)
                call = Call(
                    function=function,
                    way=one.way.name,
                    connected=min(one.way.connected, begin),
                    begin=begin,
                    end=time.monotonic(),
                    deadline=DEADLINE,
                    ending=came.ending,
                    version=version_of(sent, came.body) if came.ending is Ending.REPLY else "",
                    error=came.error,
                    detail=came.detail,
                    partial=came.partial,
                    bridged=came.bridged,
                )
                with self._lock:
                    self._calls.append(call)
                if came.ending is Ending.BROKEN:
                    self._over.wait(REST)
