"""One call inside the watcher, and the states it goes through.

::

    READING ──▶ WAITING ──▶ DONE
       │           │          │
       └───────────┴──────────┴──▶ ENDED

The server's loop owns a call, and only the loop changes its state. The handler's thread sets times
in the clock and the ``outcome``, and then returns the call to the loop.

A stream goes through the same states: READING until its first message, WAITING until its first
reply, DONE while more messages and replies follow. Its deadline is that of the next message: the
handler's thread moves the deadline with each message that it takes or yields, and suspends it while
it waits for a message.

Most calls are small and have neither a stream nor a body that arrives in parts. Their calls have
none of the objects for these cases (figures: docs/decisions/0018-direct-calls.md).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from enum import IntEnum
from time import monotonic
from typing import Any

from dcf.errors import DcfError, DeadlineExceeded
from dcf.function.reply import Encoded
from dcf.function.request import Request
from dcf.protocol.call_table import CallTable
from dcf.watcher.execution.request_stream import RequestStream
from dcf.watcher.execution.response_stream import ResponseStream
from dcf.watcher.http.stream_encoders import StreamEncoder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
"""ASGI's ``receive``."""


class CallState(IntEnum):
    """The state of a call."""

    READING = 0
    """The body is arriving."""
    WAITING = 1
    """The call waits for the handler or runs in it. In the handler, ``clock.started`` is set."""
    DONE = 2
    """The handler has replied, and the reply is being sent."""
    ENDED = 3
    """The call ended without a complete reply: its deadline has passed, or its client has
    disconnected."""


READING, WAITING, DONE, ENDED = CallState
"""The members as constants for the path of every call: Python 3.11 needs 0.1 µs to look up a member
of an enum, and 0.01 µs for a constant."""

TRANSITIONS: dict[CallState, frozenset[CallState]] = {
    READING: frozenset({WAITING, ENDED}),
    WAITING: frozenset({DONE, ENDED}),
    DONE: frozenset({ENDED}),
    ENDED: frozenset(),
}
"""Which state may follow which. A stream that breaks off goes from DONE to ENDED."""


class Recipient:
    """The side of a call that waits for its reply: a connection, or a task of the ASGI application.

    Attributes:
        waiter: The task to cancel when the call ends: it waits for the body, or for a reader of the
            reply that does not read.
        can_announce: Whether :meth:`announce` can be called.
    """

    __slots__ = ()
    waiter: asyncio.Task[None] | None = None
    can_announce = False

    def settled(self, call: Call) -> None:
        """Accept the call's outcome, or the error with which the call ended. Called once."""

    def announce(self) -> None:
        """Tell the gateway that the handler begins, by an interim response. On the loop."""

    def watch(self, call: Call) -> None:
        """Detect from now on when the client of a call that takes longer disconnects."""


class Clock:
    """The times of a call, in seconds of ``time.monotonic()``.

    Attributes:
        arrived: When the headers arrived.
        limit: Seconds that the handler has for a reply.
        ends: When the call ends in any case, because its caller said so.
        deadline: When the call ends.
        started: When the handler began; 0 before.
        renewed: When the handler's current time limit began to count; 0 before the handler began.
        finished: When the handler had ended, a streamed reply included; 0 before.
        answered: When the reply, or its first chunk, was there; 0 before.
    """

    __slots__ = (
        "answered", "arrived", "deadline", "ends", "finished", "limit", "renewed", "started",
    )  # fmt: skip

    def __init__(self, arrived: float, limit: float, ends: float = math.inf) -> None:
        self.arrived = arrived
        self.limit = limit
        self.ends = ends
        deadline = arrived + limit
        self.deadline = deadline if deadline < ends else ends  # noqa: FURB136  min() takes longer
        self.started = self.renewed = self.finished = self.answered = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the handler works on the call."""
        return self.started > 0 and self.finished == 0

    def timing(self) -> bytes:
        """Return the ``Server-Timing`` header: milliseconds in the queue and in the handler."""
        started = self.started
        if not started:
            return b"queue;dur=%.2f" % ((monotonic() - self.arrived) * 1000)
        return b"queue;dur=%.2f, handler;dur=%.2f" % (
            (started - self.arrived) * 1000,
            ((self.answered or monotonic()) - started) * 1000,
        )


class CallStream:
    """What a call of many messages has in addition.

    Attributes:
        requests: The messages; None if the call has one message, the body.
        replies: The chunks of a streamed reply; None until there is a first one.
        encoder: Encodes the replies; None if the head of the reply will tell.
        interrupt: Interrupts the handler, if that is possible.
        is_resting: Whether the stream waits for a message from its client, or for a slow reader.
        moved: When it last began to rest, or a message came or went meanwhile.
    """

    __slots__ = ("encoder", "interrupt", "is_resting", "moved", "replies", "requests")

    def __init__(
        self, interrupt: Callable[[Call], None], requests: RequestStream | None = None
    ) -> None:
        self.interrupt = interrupt
        self.requests = requests
        self.replies: ResponseStream | None = None
        self.encoder: StreamEncoder | None = None
        self.is_resting = False
        self.moved = monotonic()

    def abandon(self) -> None:
        """Make the handler end, whatever it waits for."""
        if self.requests is not None:
            self.requests.abandon()
        if self.replies is not None:
            self.replies.abandon()


class BodyProgress:
    """How much of a body that comes in parts has arrived. See :mod:`dcf.watcher.body_budget`.

    Attributes:
        received: Bytes in memory that count towards the limit.
        is_complete: Whether they count as a complete body that waits for the handler.
        is_reading: Whether the watcher reads the body; false while the limit is reached.
        slack: Seconds during which it did not read.
    """

    __slots__ = ("is_complete", "is_reading", "received", "slack")

    def __init__(self) -> None:
        self.received = 0
        self.is_complete = False
        self.is_reading = True
        self.slack = 0.0


class BodyKind(IntEnum):
    """What the body of a call over HTTP is to the handler."""

    WHOLE = 0
    """One message."""
    CHUNKS = 1
    """A message for each part that arrives."""
    LINES = 2
    """A message for each line."""


WHOLE = BodyKind.WHOLE
"""A constant, for the path of every call."""


class Call:
    """One call.

    Attributes:
        request: What the handler gets.
        clock: Its times.
        recipient: Waits for the reply.
        state: Its state.
        stream: What it has in addition as a stream; None for most calls.
        body: How much of its body has arrived; None if the body arrived in one part.
        outcome: The handler's reply or error.
        failure: Why the call ended early. It takes precedence over the outcome, which may come
            later.
        body_kind: What its body is to the handler.
        is_unread: Whether part of the body may still arrive.
        is_interrupted: Whether the handler was interrupted, because the deadline has passed.
        request_id: The id, ready for a header; empty if the reply does not contain it.
        given_id: The id that it came with, which it keeps when it moves; empty without one.
        key: Id of the key that it came with; "" if no key is needed.
        attempt: How many times the gateway has sent it so far; 0 without a gateway.
        is_admitted: Whether a full queue must accept it, because another replica's queue already
            had.
        is_placed: Whether it has a place in the queue or in the handler.
        is_movable: Whether the gateway can send it to another replica.
        has_moved: Whether it was taken from the handler before it began, to begin elsewhere.
        table: Call table in which the begin is marked; None without a gateway.
        entry: Its entry in the table; negative without one.
        announce: Called in the handler's thread before it begins a call that the gateway cannot
            retry; returns whether the call may begin. None for other calls.
    """

    __slots__ = (
        "announce",
        "attempt",
        "body",
        "body_kind",
        "clock",
        "entry",
        "failure",
        "given_id",
        "has_moved",
        "is_admitted",
        "is_interrupted",
        "is_movable",
        "is_placed",
        "is_unread",
        "key",
        "outcome",
        "recipient",
        "request",
        "request_id",
        "state",
        "stream",
        "table",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        clock: Clock,
        recipient: Recipient,
        request_id: bytes = b"",
        given_id: bytes = b"",
        key: str = "",
        attempt: int = 0,
        is_admitted: bool = False,  # noqa: FBT001, FBT002  positional arguments take less time
    ) -> None:
        """Create a call whose headers have arrived."""
        self.request = request
        self.clock = clock
        self.recipient = recipient
        self.request_id = request_id
        self.given_id = given_id
        self.state = READING
        self.stream: CallStream | None = None
        self.body: BodyProgress | None = None
        self.outcome: Encoded | DcfError | None = None
        self.failure: DcfError | None = None
        self.body_kind = WHOLE
        self.key = key
        self.attempt = attempt
        self.is_admitted = is_admitted
        self.table: CallTable | None = None
        self.entry = -1
        self.announce: Callable[[], bool] | None = None
        self.is_unread = True
        self.is_placed = self.is_movable = False
        self.has_moved = self.is_interrupted = False

    @property
    def verdict(self) -> Encoded | DcfError | None:
        """What the caller gets."""
        return self.outcome if self.failure is None else self.failure

    @property
    def requests(self) -> RequestStream | None:
        """The messages of a stream."""
        return None if self.stream is None else self.stream.requests

    @property
    def replies(self) -> ResponseStream | None:
        """The chunks of a streamed reply."""
        return None if self.stream is None else self.stream.replies

    def whole(self, body: bytes) -> None:
        """Set the body, which has arrived completely."""
        self.is_unread = False
        self.request.input = body

    def to(self, state: CallState) -> None:
        """Change the state."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"a call cannot go from {self.state} to {state}")
        self.state = state

    @property
    def may_begin_elsewhere(self) -> bool:
        """Whether the handler did not begin and never will, so that another replica may."""
        return not self.is_placed or self.has_moved

    def begin(self) -> bool:
        """Mark that the handler begins. Call this in its thread, right before it begins.

        Returns:
            False if it must not begin, because the gateway could not be notified.
        """
        if self.announce is not None and not self.announce():
            return False
        entry = self.entry
        if entry >= 0 and self.table is not None:
            self.table.begin(entry)
        clock = self.clock
        clock.renewed = clock.started = monotonic()
        return True

    @property
    def hangs_at(self) -> float:
        """When the handler's time for this call, or for this message of a stream, is used up.

        The caller's deadline does not count here: it must not end a process that serves others.
        """
        if self.stream is not None and self.stream.is_resting:
            return math.inf
        return self.clock.renewed + self.clock.limit

    def work(self) -> None:
        """Restart the handler's time limit, because it took or yielded a message of a stream.

        Any thread may call this.
        """
        clock = self.clock
        if self.stream is not None:
            self.stream.is_resting = False
        clock.renewed = now = monotonic()
        clock.deadline = ends = min(now + clock.limit, clock.ends)
        self.request.renew(ends)

    def rest(self) -> None:
        """Suspend the handler's time limit: it waits for a message, or for its reader."""
        self.clock.deadline = self.clock.ends
        if self.stream is not None:
            self.stream.moved = monotonic()
            self.stream.is_resting = True

    def progress(self) -> None:
        """Note that a message of a stream came or went."""
        if self.stream is not None:
            self.stream.moved = monotonic()

    def answer(self) -> None:
        """Accept the handler's outcome.

        An error that comes after the deadline is replaced by the deadline's error, even if the
        monitor has not noticed it yet: a handler whose own calls run out of time fails just then.
        """
        if isinstance(self.outcome, DcfError) and monotonic() >= self.clock.deadline:
            self.outcome = self.expiry()
        self.to(DONE)
        self.recipient.settled(self)

    def expiry(self) -> DeadlineExceeded:
        """Return the error that the deadline has passed."""
        clock, is_reading = self.clock, self.state is READING
        what = "the body did not arrive" if is_reading else "there was no reply"
        within = min(clock.limit, clock.ends - clock.arrived)
        return DeadlineExceeded(f"{what} within {within:.4g} s")

    def end(self, error: DcfError) -> None:
        """End the call with ``error`` in whatever state it is. The handler may continue to run."""
        before = self.state
        if before is ENDED:
            return
        self.request.cancel()
        if self.recipient.waiter is not None:
            self.recipient.waiter.cancel()
        self.failure = error
        self.to(ENDED)
        if self.requests is not None or self.replies is not None:
            self._cut_off()
        if before is not DONE:
            self.recipient.settled(self)

    def _cut_off(self) -> None:
        stream = self.stream
        assert stream is not None  # noqa: S101  it has requests or replies
        # Interrupt the handler before waking it, so that it is interrupted once and not in its
        # clean-up.
        if self.clock.is_running:
            self.is_interrupted = True
            stream.interrupt(self)
        stream.abandon()
