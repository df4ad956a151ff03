"""Ends calls from outside: deadlines, disconnected clients and stuck handlers.

One timer checks all calls every twentieth of a second. There is no timer and no task for each call,
so a call that is answered sooner, as most are, pays for none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic

from dcf.errors import BodyTooSlow, DeadlineExceeded
from dcf.settings import WatcherSettings
from dcf.watcher.body_budget import BodyBudget
from dcf.watcher.call import BodyProgress, Call, CallState

INTERVAL = 0.05
"""Seconds between two checks: the maximum delay with which a deadline is noticed."""


class CallMonitor:
    """Watches calls until they are over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: WatcherSettings,
        bodies: BodyBudget,
        *,
        on_expired: Callable[[Call], None],
        on_stuck: Callable[[Call], None],
    ) -> None:
        """Create a monitor without calls.

        Args:
            loop: The server's loop.
            settings: The grace after a time-out, the minimum rate of a body, and how long a stream
                may rest.
            bodies: Stops counting a body once its handler has begun.
            on_expired: Called for a call whose deadline has passed while its handler runs.
            on_stuck: Called when a handler works on one call for longer than the function's
                time-out plus grace.
        """
        self._loop = loop
        self._settings = settings
        self._bodies = bodies
        self._on_expired = on_expired
        self._on_stuck = on_stuck
        self._calls: set[Call] = set()
        self._is_armed = False

    def add(self, call: Call) -> None:
        """Watch ``call``."""
        self._calls.add(call)
        if not self._is_armed:
            self._is_armed = True
            self._loop.call_later(INTERVAL, self._check_all)

    def discard(self, call: Call) -> None:
        """Stop watching ``call``, whose caller has its reply, once its handler has ended."""
        clock = call.clock
        if clock.finished or not clock.started:
            self._calls.discard(call)

    def __iter__(self) -> Iterator[Call]:
        """Iterate over the calls in progress."""
        return iter(tuple(self._calls))

    def _check_all(self) -> None:
        now = monotonic()
        try:
            for call in self:
                self._check(call, now)
        finally:
            # An error with one call must not stop the deadlines of all others.
            self._is_armed = bool(self._calls)
            if self._is_armed:
                self._loop.call_later(INTERVAL, self._check_all)

    def _check(self, call: Call, now: float) -> None:
        clock, body, stream = call.clock, call.body, call.stream
        if body is not None and body.is_complete and clock.started:
            self._bodies.release(call)
        if call.state is CallState.ENDED:
            self._check_ended(call, now)
        elif now >= clock.deadline:
            call.end(call.expiry())
            if clock.is_running and not call.is_interrupted:
                self._interrupt(call)
        elif (
            stream is not None
            and stream.is_resting
            and now - stream.moved >= self._settings.idle_timeout
        ):
            idle = self._settings.idle_timeout
            call.end(DeadlineExceeded(f"no message came or went for {idle:.4g} s"))
        elif call.state is CallState.READING:
            if body is not None and call.requests is None and body.is_reading:
                self._check_rate(call, body, now)
        else:
            call.recipient.watch(call)

    def _check_ended(self, call: Call, now: float) -> None:
        """Watch a handler that continues after its caller got a reply or disconnected."""
        if not call.clock.is_running:
            self._calls.discard(call)
        elif now >= call.clock.deadline and not call.is_interrupted:
            # The client had disconnected before; now the deadline has passed as well.
            self._interrupt(call)
        elif now >= call.hangs_at + self._settings.grace:
            self._calls.discard(call)
            self._on_stuck(call)

    def _check_rate(self, call: Call, body: BodyProgress, now: float) -> None:
        arrived, rate = call.clock.arrived, self._settings.body_rate
        seconds = now - arrived - body.slack - self._settings.body_grace
        if seconds > 0 and body.received < seconds * rate:
            call.end(BodyTooSlow(
                f"expected at least {rate} bytes a second of the body, got {body.received} bytes"
                f" in {now - arrived:.0f} s"
            ))  # fmt: skip

    def _interrupt(self, call: Call) -> None:
        call.is_interrupted = True
        self._on_expired(call)
