"""Callers: who calls what, how, and what became of each call."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from chaos.functions import BUSY, RARE, Shape, version_of
from chaos.judge import SLACK, Call, Ending
from dcf.protocol import http as wire
from process.stub import connected

DEADLINE = 15.0
"""Seconds for each call: none that is not held up needs two."""

REST = 0.2
"""Seconds before another call after one that met nobody, so that few calls are spent so."""

_GIVE_UP = DEADLINE + SLACK + 2
"""Seconds after which a caller stops waiting: its call hung."""

_ERRORS = {
    grpc.StatusCode.NOT_FOUND: "FunctionNotFound",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
}
_UNAVAILABLE = {
    "broke the call off": "ReplicaLost",
    "broke the connection off": "ReplicaLost",
    "no connection to": "NotReady",
    "has no replica now": "NotReady",
    "is scaled to 0": "NotReady",
    "was removed during": "NotReady",
    "had no ready replica": "NotReady",
    "the replica ended": "ReplicaExited",
}
"""What stands for each of these in a gRPC status that is several errors' own."""


@dataclass(frozen=True, slots=True)
class Came:
    """What a caller got.

    Attributes:
        ending: How it ended.
        body: A reply's.
        error: A problem's class.
        detail: For people.
        partial: Whether a reply broke off after its beginning.
    """

    ending: Ending
    body: bytes = b""
    error: str = ""
    detail: str = ""
    partial: bool = False


class Way(ABC):
    """How a caller calls. One thread's.

    Attributes:
        name: For people.
        connected: When the connection was made, in seconds of the monotonic clock.
    """

    name: str
    connected: float

    @abstractmethod
    def send(self, function: str, body: bytes) -> Came:
        """Makes one call, to its end."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection, if one is kept."""


class Http(Way):
    """HTTP/1.1.

    Args:
        port: The gateway's.
        name: For people.
        keep: Whether a connection is kept for the next call.
    """

    def __init__(self, port: int, name: str, *, keep: bool) -> None:
        self.name = name
        self.connected = 0.0
        self._port = port
        self._keep = keep
        self._connection: http.client.HTTPConnection | None = None

    def send(self, function: str, body: bytes) -> Came:
        began = False
        try:
            if self._connection is None:
                self.connected = time.monotonic()
                self._connection = http.client.HTTPConnection(
                    "127.0.0.1", self._port, timeout=_GIVE_UP
                )
            headers = {wire.DEADLINE_MS: f"{DEADLINE * 1000:.0f}"}
            self._connection.request("POST", f"/function/{function}", body, headers)
            response = self._connection.getresponse()
            began = True
            came = _of_response(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Came(Ending.BROKEN, detail=repr(error), partial=began)
        if not self._keep:
            self.close()
        return came

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Grpc(Way):
    """Invoke of pb.Gateway, a connection for each call: grpcio waits long before it tries again.

    Args:
        port: The gateway's.
    """

    name = "grpc"

    def __init__(self, port: int) -> None:
        self.connected = 0.0
        self._port = port

    def send(self, function: str, body: bytes) -> Came:
        self.connected = time.monotonic()
        own: dict[str, Any] = {"grpc.use_local_subchannel_pool": 1}
        with connected(self._port, **own) as stub:
            try:
                # Its own deadline is the client's as well; the gateway's word is to come first.
                metadata = ((wire.DEADLINE_MS, f"{DEADLINE * 1000:.0f}"),)
                reply = stub(
                    "Invoke", Service=function, Input=body, timeout=_GIVE_UP, metadata=metadata
                )
            except grpc.RpcError as error:
                return _of_status(error)
        return Came(Ending.REPLY, reply.Msg.encode())

    def close(self) -> None:
        """Nothing is kept."""


def _of_response(status: int, body: bytes) -> Came:
    if status == http.client.OK:
        return Came(Ending.REPLY, body)
    error = detail = ""
    with contextlib.suppress(ValueError, AttributeError):
        problem = json.loads(body)
        error, detail = problem.get("error", ""), problem.get("detail", "")
    return Came(
        Ending.PROBLEM,
        error=error or f"HTTP {status}",
        detail=f"{status} {detail or body[:200]!r}",
    )


def _of_status(error: Any) -> Came:
    code, details = error.code(), error.details() or ""
    detail = f"{code.name} {details}"
    if code in _ERRORS:
        return Came(Ending.PROBLEM, error=_ERRORS[code], detail=detail)
    if code is grpc.StatusCode.UNAVAILABLE:
        for words, name in _UNAVAILABLE.items():
            if words in details:
                return Came(Ending.PROBLEM, error=name, detail=detail)
        return Came(Ending.BROKEN, detail=detail)
    return Came(Ending.PROBLEM, error=code.name, detail=detail)


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


def callers(port: int) -> list[Caller]:
    """Everyone."""
    slow = [f"sleep {tenths / 10}" for tenths in range(2, 9)]
    return [
        Caller(Http(port, "http", keep=True), BUSY, ["echo"], 100, 0.03),
        Caller(Http(port, "http, new connections", keep=False), BUSY, ["echo"], 100, 0.05),
        Caller(Http(port, "300 KB", keep=True), BUSY, ["echo"], 300_000, 0.1),
        Caller(Http(port, "slow", keep=True), BUSY, slow, 50, 0.1),
        Caller(Http(port, "slow, new connections", keep=False), BUSY, slow, 50, 0.1),
        Caller(Http(port, "chunks", keep=True), BUSY, ["chunks 5", "chunks 20"], 20_000, 0.1),
        Caller(Grpc(port), BUSY, ["echo"], 100, 0.1),
        Caller(Http(port, "from zero", keep=True), [RARE], ["echo"], 5_000, 6.0),
    ]


class Load:
    """All callers at once.

    Args:
        port: The gateway's.
        seed: Of what they draw.
    """

    def __init__(self, port: int, seed: str) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._threads = [
            threading.Thread(target=self._run, args=(one, random.Random(f"{seed} {number}")))
            for number, one in enumerate(callers(port))
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
                )
                with self._lock:
                    self._calls.append(call)
                if came.ending is Ending.BROKEN:
                    self._over.wait(REST)
