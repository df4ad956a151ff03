"""A call of ``Invokes``: its messages to one or more functions, and their replies."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from dcf.bridge.link import Link
from dcf.client.address import Address
from dcf.client.stream_exchange import Item
from dcf.errors import BadRequest, BodyTooLarge, DcfError, DeadlineExceeded
from dcf.protocol import http
from dcf.protocol.problem import to_problem
from dcf.protocol.status_codes import status_of
from dcf.protocol.stream import MessageFailure
from dcf.rpc.grpc_framing import FrameReader, framed_output, read_request, read_timeout
from dcf.rpc.grpc_status import message_of

logger = logging.getLogger("dcf.bridge")

PATH = "/pb.Gateway/Invokes"
FUNCTIONS = 64
"""Maximum number of functions in a call. Each needs a connection."""

TIMEOUT = "grpc-timeout"
PASSED_ON = (
    http.REQUEST_ID, "traceparent", "tracestate", http.DEADLINE_MS, http.KEY, http.REMOTE,
)  # fmt: skip
"""Metadata that the function's replica receives. ``grpc-timeout`` is not included: it limits the
whole call, and a function's deadline limits one reply."""

OK = 0
CANCELLED = 1
"""Statuses that do not come from an error."""

_NAME = re.compile(rb"(?!\.+$)[A-Za-z0-9_.-]{1,100}")
"""Names to ask the gateway for. They include misspelled names, for which it suggests others."""


class Caller(Protocol):
    """The client of a call."""

    def send(self, frames: bytes) -> None:
        """Send messages."""

    async def drain(self) -> None:
        """Wait until more may be sent."""

    def finish(self, number: int, message: str) -> None:
        """Send the status."""

    def pause(self) -> None:
        """Stop reading from the client."""

    def resume(self) -> None:
        """Read from the client again."""


class GrpcCall:
    """A call from its headers to its status, on one event loop."""

    def __init__(
        self,
        client: Caller,
        metadata: Mapping[str, str],
        address: Address,
        most: int,
        idle: float,
    ) -> None:
        """Create a call that has received its headers.

        Args:
            client: The client.
            metadata: The call's metadata.
            address: Address at which functions are called.
            most: Maximum bytes of a message.
            idle: Seconds until the call must name a function. After that the function's replica
                ends idle streams.
        """
        self.done = asyncio.Event()
        self._client = client
        self._address = address
        self._most = most
        self._frames = FrameReader(most)
        self._begun = time.monotonic()
        self._request_id = metadata.get(http.REQUEST_ID, "")
        forwarded = [(name, metadata[name]) for name in PASSED_ON if name in metadata]
        self._headers = (("host", address.authority), *forwarded)
        self._links: dict[bytes, Link] = {}
        self._open: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_ended = False
        self._is_paused = False
        self._received = self._sent = 0
        self._alarm: asyncio.TimerHandle | None = None
        silent = DeadlineExceeded(f"expected a function's name within {idle:g} s, got no message")
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(idle, self.failed, silent)
        seconds = read_timeout(metadata.get(TIMEOUT, ""))
        if seconds is not None:
            late = DeadlineExceeded(f"the call exceeded its deadline of {seconds:g} s")
            self._alarm = loop.call_later(seconds, self.failed, late)

    # Events of the client

    def received(self, data: bytes) -> None:
        """Accept data that the client has sent."""
        if self.done.is_set():
            return
        try:
            for message in self._frames.feed(data):
                self._forward(*read_request(message))
        except DcfError as error:
            self.failed(error)
            return
        if not self._is_paused and any(link.is_full for link in self._open):
            self._is_paused = True
            self._client.pause()

    def half_closed(self) -> None:
        """Handle the end of the client's messages."""
        if self._frames.is_amid:
            self.failed(BadRequest("expected complete messages, got a part of the last one"))
            return
        self._has_ended = True
        for link in self._open:
            link.end()
        self._finish_if_all_ended()

    def disconnected(self) -> None:
        """Handle a client that has cancelled the call or disconnected."""
        self._end(CANCELLED, "", is_connected=False)

    # Events of the functions

    async def reply(self, items: Sequence[Item]) -> None:
        """Forward replies; return when the client accepts more."""
        if self.done.is_set():
            return
        outputs = [self._output(item) for item in items]
        self._sent += len(outputs)
        self._client.send(b"".join(map(framed_output, outputs)))
        await self._client.drain()

    def unblocked(self) -> None:
        """Read from the client again if no function's queue is full any more."""
        if self._is_paused and not any(link.is_full for link in self._open):
            self._is_paused = False
            self._client.resume()

    def ended(self, link: Link) -> None:
        """Handle the end of a function's replies. Further messages to it are dropped."""
        self._open.discard(link)
        self.unblocked()
        self._finish_if_all_ended()

    def failed(self, error: DcfError) -> None:
        """End the call with an error."""
        self._end(status_of(type(error)).grpc, message_of(error))

    # Internal

    def _forward(self, service: bytes, message: bytes) -> None:
        link = self._links.get(service)
        if link is None:
            link = self._links[service] = self._link(service)
        if len(message) > self._most:
            raise BodyTooLarge(self._most)
        self._received += 1
        if link in self._open:
            link.put(message)

    def _link(self, service: bytes) -> Link:
        if not _NAME.fullmatch(service):
            name = service.decode(errors="replace")
            raise BadRequest(f"Service: expected a function's name, got {name!r:.100}")
        if len(self._links) == FUNCTIONS:
            raise BadRequest(f"expected at most {FUNCTIONS} functions in a call, got more")
        self._idle.cancel()
        link = Link(self, service.decode(), self._most)
        self._open.add(link)
        task = asyncio.create_task(link.run(self._address, self._headers))
        self._tasks.add(task)
        task.add_done_callback(self._link_ended)
        return link

    def _link_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            logger.error("request %s: internal error", self._request_id, exc_info=defect)
            message = f"internal error; see the gateway's log of request {self._request_id}"
            self.failed(DcfError(message))

    def _output(self, item: Item) -> bytes:
        if isinstance(item, MessageFailure):
            return to_problem(item.error, self._request_id)
        return item

    def _finish_if_all_ended(self) -> None:
        if not self._open and (self._has_ended or self._links):
            self._end(OK, "")

    def _end(self, number: int, message: str, *, is_connected: bool = True) -> None:
        if self.done.is_set():
            return
        self.done.set()
        self._idle.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        if number != OK:
            for task in self._tasks:
                task.cancel()
        if is_connected:
            self._client.finish(number, message)
        members = {
            "method": "gRPC",
            "path": PATH,
            "function": ", ".join(link.name for link in self._links.values()),
            "status": number,
            "ms": round((time.monotonic() - self._begun) * 1000, 1),
            "received": self._received,
            "sent": self._sent,
            "request_id": self._request_id,
        }
        logger.info("%s", json.dumps(members))
