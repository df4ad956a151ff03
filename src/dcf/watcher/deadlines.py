"""Deadlines, vanished clients and stuck handlers: all that happens to a call from outside.

One timer looks at all calls every twentieth of a second, instead of a timer and a task for each: a
call that is answered sooner, as most are, pays for none of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from dcf.errors import BodyTooSlow
from dcf.settings import WatcherSettings
from dcf.watcher.body_budget import BodyBudget
from dcf.watcher.call import Call, CallState

INTERVAL = 0.05
"""Seconds between two looks: how late a deadline may be noticed."""


class CallMonitor:
    """Watches over the calls it is given until they are over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: WatcherSettings,
        bodies: BodyBudget,
        *,
        on_slow: Callable[[Call], None],
        on_expired: Callable[[Call], None],
        on_stuck: Callable[[Call], None],
    ) -> None:
        """A sweeper at rest.

        Args:
            loop: The server's loop.
            settings: The grace after a time-out, and the minimum rate of a body.
            bodies: Stops counting a body once its handler has begun.
            on_slow: Called once for a call that takes longer than an interval.
            on_expired: Called for a call whose deadline has passed while its handler is at work.
            on_stuck: Called when a handler works on one call for longer than the function's
                time-out plus grace.
        """
        self._loop = loop
        self._settings = settings
        self._bodies = bodies
        self._on_slow = on_slow
        self._on_expired = on_expired
        self._on_stuck = on_stuck
        self._calls: set[Call] = set()
        self._armed = False

    def add(self, call: Call) -> None:
        """Watches over ``call``."""
        self._calls.add(call)
        if not self._armed:
            self._armed = True
            self._loop.call_later(INTERVAL, self._sweep)

    def discard(self, call: Call) -> None:
        """The caller has its answer. A call whose handler is still at work stays watched."""
        if not call.busy:
            self._calls.discard(call)

    def __iter__(self) -> Iterator[Call]:
        """The calls under way."""
        return iter(tuple(self._calls))

    def _sweep(self) -> None:
        now = time.monotonic()
        try:
            for call in self:
                self._look_at(call, now)
        finally:
            # Whatever goes wrong with one call, the deadlines of the others go on.
            self._armed = bool(self._calls)
            if self._armed:
                self._loop.call_later(INTERVAL, self._sweep)

    def _look_at(self, call: Call, now: float) -> None:
        if call.counted and call.started:
            self._bodies.release(call)
        if call.state is CallState.ENDED:
            self._look_at_ended(call, now)
        elif now >= call.deadline:
            call.end(call.expiry())
            if call.busy and not call.interrupted:
                self._interrupt(call)
        elif call.resting and now - call.moved >= call.idle:
            call.end(call.stillness())
        elif call.state is CallState.READING:
            if call.inbox is None and call.reads:
                self._check_speed(call, now)
        elif call.watch is None:
            self._on_slow(call)

    def _look_at_ended(self, call: Call, now: float) -> None:
        """Watch a handler that keeps working after its caller got a reply or disconnected."""
        if not call.busy:
            self._calls.discard(call)
        elif now >= call.deadline and not call.interrupted:
            # The client had disconnected before; now the deadline has passed as well.
            self._interrupt(call)
        elif now >= call.hangs_at + self._settings.grace:
            self._calls.discard(call)
            self._on_stuck(call)

    def _check_speed(self, call: Call, now: float) -> None:
        rate = self._settings.body_rate
        seconds = now - call.arrived - call.slack - self._settings.body_grace
        if seconds > 0 and call.received < seconds * rate:
            call.end(BodyTooSlow(
                f"expected at least {rate} bytes a second of the body, got {call.received} bytes"
                f" in {now - call.arrived:.0f} s"
            ))  # fmt: skip

    def _interrupt(self, call: Call) -> None:
        call.interrupted = True
        self._on_expired(call)
