"""One call of ``Invokes``: messages to as many functions as it names, and their replies."""

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
from dcf.protocol.status import status_of
from dcf.protocol.stream import StreamFailure
from dcf.wire.failures import message_of
from dcf.wire.framing import FrameReader, framed_output, read_request, read_timeout

logger = logging.getLogger("dcf.bridge")

PATH = "/pb.Gateway/Invokes"
FUNCTIONS = 64
"""That one call may name: each is a connection."""

TIMEOUT = "grpc-timeout"
PASSED_ON = (
    http.REQUEST_ID, "traceparent", "tracestate", http.DEADLINE_MS, http.KEY, http.REMOTE,
)  # fmt: skip
"""Metadata that the function's replica receives. ``grpc-timeout`` is not included: it limits the
whole call, and a function's deadline limits one reply."""

OK = 0
CANCELLED = 1
"""Statuses that no error has."""

_NAME = re.compile(rb"(?!\.+$)[A-Za-z0-9_.-]{1,100}")
"""What may yet be a name with a slip of the keyboard is asked for, and told which are like it."""


class Client(Protocol):
    """Who has called."""

    def send(self, frames: bytes) -> None:
        """Sends messages."""

    async def room(self) -> None:
        """Waits until it takes more."""

    def finish(self, number: int, message: str) -> None:
        """Sends the status."""

    def hold(self) -> None:
        """Reads no more from it for now."""

    def go_on(self) -> None:
        """Reads from it again."""


class Call:
    """From its headers to its status. On one event loop."""

    def __init__(
        self,
        client: Client,
        metadata: Mapping[str, str],
        address: Address,
        most: int,
        idle: float,
    ) -> None:
        """A call without a message.

        Args:
            client: Who called.
            metadata: Of the call.
            address: Where functions are called.
            most: Bytes that a message may have.
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
        passed_on = [(name, metadata[name]) for name in PASSED_ON if name in metadata]
        self._headers = (("host", address.authority), *passed_on)
        self._links: dict[bytes, Link] = {}
        self._open: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_ended = False
        self._is_held = False
        self._received = self._sent = 0
        self._alarm: asyncio.TimerHandle | None = None
        silent = DeadlineExceeded(f"the stream named no function for {idle:g} s")
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(idle, self.failed, silent)
        seconds = read_timeout(metadata.get(TIMEOUT, ""))
        if seconds is not None:
            late = DeadlineExceeded(f"the call took longer than its {seconds:g} s")
            self._alarm = loop.call_later(seconds, self.failed, late)

    # What the client does

    def received(self, data: bytes) -> None:
        """Takes what the client sent."""
        if self.done.is_set():
            return
        try:
            for message in self._frames.feed(data):
                self._pass_on(*read_request(message))
        except DcfError as error:
            self.failed(error)
            return
        if not self._is_held and any(link.is_full for link in self._open):
            self._is_held = True
            self._client.hold()

    def half_closed(self) -> None:
        """The client sends no more."""
        if self._frames.is_amid:
            self.failed(BadRequest("the last message is cut off"))
            return
        self._has_ended = True
        for link in self._open:
            link.end()
        self._finish_if_all_ended()

    def gone(self) -> None:
        """The client wants no more, or is no more."""
        self._end(CANCELLED, "", told=False)

    # What the functions do

    async def reply(self, items: Sequence[Item]) -> None:
        """Passes replies on; returns when there is room for more."""
        if self.done.is_set():
            return
        outputs = [self._output(item) for item in items]
        self._sent += len(outputs)
        self._client.send(b"".join(map(framed_output, outputs)))
        await self._client.room()

    def eased(self) -> None:
        """There is room for messages to one of them again."""
        if self._is_held and not any(link.is_full for link in self._open):
            self._is_held = False
            self._client.go_on()

    def ended(self, link: Link) -> None:
        """One has sent all that it has to say; what is still sent to it, nobody reads."""
        self._open.discard(link)
        self.eased()
        self._finish_if_all_ended()

    def failed(self, error: DcfError) -> None:
        """The call ends with an error."""
        self._end(status_of(type(error)).grpc, message_of(error))

    # Its own

    def _pass_on(self, service: bytes, message: bytes) -> None:
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
            raise BadRequest("Service: a function's name is wanted")
        if len(self._links) == FUNCTIONS:
            raise BadRequest(f"one call names no more than {FUNCTIONS} functions")
        self._idle.cancel()
        link = Link(self, service.decode(), self._most)
        self._open.add(link)
        task = asyncio.create_task(link.run(self._address, self._headers))
        self._tasks.add(task)
        task.add_done_callback(self._ran)
        return link

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            logger.error("request %s: a defect", self._request_id, exc_info=defect)
            told = f"a defect of the gateway; its log tells more of {self._request_id}"
            self.failed(DcfError(told))

    def _output(self, item: Item) -> bytes:
        if isinstance(item, StreamFailure):
            return to_problem(item.error, self._request_id)
        return item

    def _finish_if_all_ended(self) -> None:
        if not self._open and (self._has_ended or self._links):
            self._end(OK, "")

    def _end(self, number: int, message: str, *, told: bool = True) -> None:
        if self.done.is_set():
            return
        self.done.set()
        self._idle.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        if number != OK:
            for task in self._tasks:
                task.cancel()
        if told:
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
