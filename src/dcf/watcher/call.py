"""One call inside the watcher, and the states it goes through.

::

    READING ──▶ WAITING ──▶ DONE
       │           │          │
       └───────────┴──────────┴──▶ ENDED

The server's loop owns a call and alone changes its state. The handler's thread sets the clock marks
``started`` and ``finished`` and the ``outcome``, then hands the call back.

A stream goes through the same states: READING until its first message, WAITING until its first
reply, DONE while more of both come and go. Its deadline is that of the next message: the handler's
thread moves it with each one that it takes or gives, and takes it off while it waits for one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from enum import IntEnum
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
    """Where a call is."""

    READING = 0
    """The body is arriving."""
    WAITING = 1
    """For the handler: in the queue, or at work (then ``started`` is set)."""
    DONE = 2
    """The handler answered; the reply is on its way."""
    ENDED = 3
    """Given up: past its deadline, or its client is gone."""


TRANSITIONS: dict[CallState, frozenset[CallState]] = {
    CallState.READING: frozenset({CallState.WAITING, CallState.ENDED}),
    CallState.WAITING: frozenset({CallState.DONE, CallState.ENDED}),
    CallState.DONE: frozenset({CallState.ENDED}),
    CallState.ENDED: frozenset(),
}
"""Which state may follow which. From DONE to ENDED goes a stream that breaks off."""


class Call:
    """One call.

    All times are ``time.monotonic()`` seconds.

    Attributes:
        request: What the handler is given.
        request_id: The call's id, ready for a header; empty where the reply need not tell it.
        arrived: When the headers were here.
        deadline: When the call is given up.
        limit: Seconds that the handler has for a reply.
        ends: When the call is given up in any case, because its caller said so.
        idle: Seconds that a stream may rest.
        resting: Whether a stream waits for a message from its client, or for a slow reader.
        moved: When it last began to, or a message came or went meanwhile.
        chunked: Whether the body comes without its length.
        lines: Whether the body has a line for each message of a stream.
        admitted: Whether a full queue must accept it, because another replica's queue already had.
        placed: Whether it has a place in the queue or in the handler.
        movable: Whether the gateway can send it to another replica.
        moved_on: Whether it was taken from the handler before it began, to begin elsewhere.
        given_id: The id that it came with, which it keeps when it moves; empty without one.
        attempt: How many times the gateway has sent it so far; 0 without a gateway.
        table: Call table in which the begin is marked; None without a gateway.
        entry: Its entry in the table; negative without one.
        interim: Writes an interim response to the gateway; on the loop. None after the head of a
            reply was sent.
        announce: Called in the handler's thread before it begins a call that the gateway cannot
            retry; returns whether the call may begin. None for other calls.
        received: Bytes of the body in memory that count towards the limit.
        counted: Whether they count as a complete body that waits for the handler.
        reads: Whether the watcher is reading the body; false while the limit is reached.
        slack: Seconds during which it did not read.
        started: When the handler began; 0 before.
        renewed: When the handler's current time limit began to count; 0 before the handler began.
        finished: When the handler had ended, a streamed reply included; 0 before.
        answered: When the reply, or its first chunk, was there; 0 before.
        outcome: The handler's reply or error.
        failure: Why the call was given up; counts more than the outcome, which may come later.
        pipe: The chunks of a streamed reply.
        form: How they are told apart; None where the reply's head is still to say so.
        inbox: The messages of a stream; None where there is one, the body.
        interrupt: Interrupts the handler if that can be done; set when it gets the call.
        state: Where the call is.
        unread: Whether part of the body may still be on its way.
        receive: The server's way to tell that the client is gone; None where it tells otherwise.
        key: Id of the key that it came with; "" if no key is needed.
        last: Whether the client wants its connection closed after the reply.
        waiter: The task to cancel when the call is given up: while it waits for the body, or for a
            reader of the reply who stands still.
        interrupted: Whether the handler was told that its deadline has passed.
        watch: The task that waits for the client to go away; None for most calls.
    """

    __slots__ = ("_settled", "admitted", "announce", "answered", "arrived", "attempt", "chunked",
                 "counted", "deadline", "ends", "entry", "failure", "finished", "form", "given_id",
                 "idle", "inbox", "interim", "interrupt", "interrupted", "key", "last", "limit",
                 "lines", "movable", "moved", "moved_on", "outcome", "pipe", "placed", "reads",
                 "receive", "received", "renewed", "request", "request_id", "resting", "slack",
                 "started", "state", "table", "unread", "waiter", "watch")  # fmt: skip

    def __init__(
        self,
        request: Request,
        receive: Receive | None,
        settled: Callable[[Call], None],
        *,
        request_id: bytes,
        last: bool,
        arrived: float,
        limit: float,
        idle: float,
        ends: float = math.inf,
        chunked: bool = False,
        lines: bool = False,
    ) -> None:
        """A call whose headers are there; ``settled`` is called once, when there is an outcome."""
        self.request = request
        self.receive = receive
        self._settled: Callable[[Call], None] | None = settled
        self.request_id = request_id
        self.last = last
        self.key = ""
        self.arrived = arrived
        self.limit = limit
        self.ends = ends
        self.deadline = min(arrived + limit, ends)
        self.idle = idle
        self.resting = False
        self.moved = arrived
        self.chunked = chunked
        self.lines = lines
        self.admitted = False
        self.placed = False
        self.movable = False
        self.moved_on = False
        self.given_id = b""
        self.attempt = 0
        self.table: CallTable | None = None
        self.entry = -1
        self.interim: Callable[[], None] | None = None
        self.announce: Callable[[], bool] | None = None
        self.received = 0
        self.counted = False
        self.reads = True
        self.slack = 0.0
        self.started = 0.0
        self.renewed = 0.0
        self.finished = 0.0
        self.answered = 0.0
        self.outcome: Encoded | DcfError | None = None
        self.failure: DcfError | None = None
        self.form: StreamEncoder | None = None
        self.inbox: RequestStream | None = None
        self.interrupt: Callable[[Call], None] | None = None
        self.pipe: ResponseStream | None = None
        self.state = CallState.READING
        self.unread = True
        self.interrupted = False
        self.waiter: asyncio.Task[None] | None = None
        self.watch: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the handler is at work on it."""
        return self.started > 0 and self.finished == 0

    @property
    def verdict(self) -> Encoded | DcfError | None:
        """What its caller is told."""
        return self.outcome if self.failure is None else self.failure

    def whole(self, body: bytes) -> None:
        """The body is there."""
        self.unread = False
        self.request.input = body

    def to(self, state: CallState) -> None:
        """Moves on to ``state``."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"a call cannot go from {self.state} to {state}")
        self.state = state

    @property
    def may_begin_elsewhere(self) -> bool:
        """Whether the handler did not begin and never will, so that another replica may."""
        return not self.placed or self.moved_on

    def begin(self) -> bool:
        """Mark that the handler begins. Call this in its thread, right before it begins.

        Returns:
            False if it must not begin, because the gateway could not be notified.
        """
        if self.announce is not None and not self.announce():
            return False
        if self.entry >= 0 and self.table is not None:
            self.table.begin(self.entry)
        self.started = self.renewed = time.monotonic()
        return True

    @property
    def hangs_at(self) -> float:
        """When the handler's time for this call, or for this message of a stream, is used up.

        The caller's deadline does not count here: it must not end a process that serves others.
        """
        return math.inf if self.resting else self.renewed + self.limit

    def work(self) -> None:
        """A message was taken or given: the handler has its time anew. From its thread as well."""
        self.resting = False
        self.renewed = now = time.monotonic()
        ends = min(now + self.limit, self.ends)
        self.deadline = ends
        self.request.renew(ends)

    def rest(self) -> None:
        """The handler waits for a message, or for its reader: its time stands still."""
        self.deadline = self.ends
        self.moved = time.monotonic()
        self.resting = True

    def progress(self) -> None:
        """A message came or went."""
        self.moved = time.monotonic()

    def answer(self) -> None:
        """Takes the handler's outcome, which is there.

        An error that comes past the deadline is the deadline's, also where no sweep was in between:
        a handler whose own calls run out of time fails just then.
        """
        if isinstance(self.outcome, DcfError) and time.monotonic() >= self.deadline:
            self.outcome = self.expiry()
        self.to(CallState.DONE)
        self._settle()

    def expiry(self) -> DeadlineExceeded:
        """The error that the deadline has passed."""
        reading = self.state is CallState.READING
        what = "the body did not arrive" if reading else "there was no reply"
        within = min(self.limit, self.ends - self.arrived)
        return DeadlineExceeded(f"{what} within {within:.4g} s")

    def stillness(self) -> DeadlineExceeded:
        """The error that the stream has stood still for too long."""
        return DeadlineExceeded(f"no message came or went for {self.idle:.4g} s")

    def end(self, error: DcfError) -> None:
        """Gives the call up with ``error``, wherever it is. The handler may still be at work."""
        if self.state is CallState.ENDED:
            return
        self.request.cancel()
        if self.waiter is not None:
            self.waiter.cancel()
        self.failure = error
        self.to(CallState.ENDED)
        if self.inbox is not None or self.pipe is not None:
            self._cut_off()
        self._settle()

    def _cut_off(self) -> None:
        """Has the handler of a stream end at once, whatever it waits for."""
        # It is interrupted before it is woken, so that it meets this once and not in its clean-up.
        if self.interrupt is not None and self.busy:
            self.interrupted = True
            self.interrupt(self)
        if self.inbox is not None:
            self.inbox.abandon()
        if self.pipe is not None:
            self.pipe.abandon()

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled(self)

    def timing(self) -> bytes:
        """The call's ``Server-Timing`` header: milliseconds in the queue and in the handler."""
        if not self.started:
            return b"queue;dur=%.2f" % ((time.monotonic() - self.arrived) * 1000)
        until = self.answered or time.monotonic()
        return b"queue;dur=%.2f, handler;dur=%.2f" % (
            (self.started - self.arrived) * 1000,
            (until - self.started) * 1000,
        )
