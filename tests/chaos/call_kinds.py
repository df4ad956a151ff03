"""The kinds of calls of a function, and their outcomes."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import grpc

from chaos.judge import SLACK, Ending
from dcf.client.client import Client
from dcf.errors import DcfError, GatewayUnreachable, ReplicaLost
from dcf.protocol import http as wire
from process.stub import Stub, connected

DEADLINE = 15.0
"""Seconds for each call: without a disturbance, no call needs two."""

GIVE_UP = DEADLINE + SLACK + 2
"""Seconds after which a caller stops waiting: its call hung."""

_ERRORS = {
    grpc.StatusCode.NOT_FOUND: "FunctionNotFound",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
}
_UNAVAILABLE = {
    "reset the call": "ReplicaLost",
    "closed the connection": "ReplicaLost",
    "no connection to": "NotReady",
    "has no ready replica": "NotReady",
    "is scaled to 0": "NotReady",
    "was removed during": "NotReady",
    "had no ready replica": "NotReady",
    "the replica ended": "ReplicaExited",
}
"""Fragments of a detail that identify the error where several errors share a gRPC status."""


MESSAGES = 3
"""Number of messages in a stream; each is echoed."""


@dataclass(frozen=True, slots=True)
class Came:
    """The outcome of a call.

    Attributes:
        ending: How it ended.
        body: The body of a reply.
        error: The class of a problem.
        detail: Text for people.
        partial: Whether a reply broke off after its start.
        bridged: Whether the call passed through the bridge.
    """

    ending: Ending
    body: bytes = b""
    error: str = ""
    detail: str = ""
    partial: bool = False
    bridged: bool = False


class Way(ABC):
    """A way to call a function. An object belongs to a single thread.

    Attributes:
        name: Name for people.
        connected: Time at which the connection was opened, in seconds of the monotonic clock.
        deadline: Seconds for each call.
        messages: How often a call may begin, in the same process.
    """

    name: str
    connected: float
    deadline: float = DEADLINE
    messages: int = 1

    @abstractmethod
    def send(self, function: str, body: bytes) -> Came:
        """Make a call and return its outcome."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, if one is open."""


class Http(Way):
    """HTTP/1.1.

    Args:
        port: The gateway's port.
        name: Name for people.
        keep: Whether the connection is kept for the next call.
        deadline: Seconds for each call.
    """

    def __init__(self, port: int, name: str, *, keep: bool, deadline: float = DEADLINE) -> None:
        self.name = name
        self.deadline = deadline
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
                    "127.0.0.1", self._port, timeout=GIVE_UP
                )
            headers = {wire.DEADLINE_MS: f"{self.deadline * 1000:.0f}"}
            self._connection.request("POST", f"/function/{function}", body, headers)
            response = self._connection.getresponse()
            began = True
            came = of_response(response.status, response.read())
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
    """Invoke of pb.Gateway. Each call has its own connection: grpcio waits long before it reconnects.

    Args:
        port: The gateway's port.
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
                return Came(Ending.REPLY, self._ask(stub, function, body))
            except grpc.RpcError as error:
                return _of_status(error)

    def _ask(self, stub: Stub, function: str, body: bytes) -> bytes:
        # The client has a deadline of its own; the gateway's answer must arrive first.
        metadata = ((wire.DEADLINE_MS, f"{DEADLINE * 1000:.0f}"),)
        request = {"Service": function, "Input": body}
        reply: str = stub("Invoke", timeout=GIVE_UP, metadata=metadata, **request).Msg
        return reply.encode()

    def close(self) -> None:
        """Do nothing: no connection is kept."""


class Invokes(Grpc):
    """Invokes of pb.Gateway: a few messages, through the bridge."""

    name = "grpc stream"
    messages = MESSAGES

    def _ask(self, stub: Stub, function: str, body: bytes) -> bytes:
        with stub.talk(timeout=GIVE_UP) as talk:
            talk.send(function, *[body] * MESSAGES)
            talk.end()
            return _one_of([reply.Output for reply in talk.call])

    def send(self, function: str, body: bytes) -> Came:
        return replace(super().send(function, body), bridged=True)


class WebSocket(Way):
    """A stream of the client: a few messages.

    Args:
        client: Client for the calls.
    """

    name = "websocket"
    messages = MESSAGES

    def __init__(self, client: Client) -> None:
        self.connected = 0.0
        self._client = client

    def send(self, function: str, body: bytes) -> Came:
        self.connected = time.monotonic()
        messages = [body] * MESSAGES
        try:
            with self._client.stream(function, messages, timeout=DEADLINE) as replies:
                return Came(Ending.REPLY, _one_of(list(replies)))
        except GatewayUnreachable as error:
            return Came(Ending.BROKEN, detail=str(error))
        except DcfError as error:
            # The client reports a connection that is lost in a stream as a lost replica.
            lost = isinstance(error, ReplicaLost)
            kind = type(error).__name__
            return Came(Ending.PROBLEM, error=kind, detail=str(error), partial=lost)

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _one_of(replies: list[bytes]) -> bytes:
    """Return the reply that every message of a stream got; b"" if they differ or their number is
    wrong."""
    return replies[0] if len(replies) == MESSAGES and len(set(replies)) == 1 else b""


def of_response(status: int, body: bytes) -> Came:
    """Return the outcome of a complete HTTP reply."""
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
    if "RST_STREAM" in details:
        return Came(Ending.BROKEN, detail=detail)
    return Came(Ending.PROBLEM, error=code.name, detail=detail)
