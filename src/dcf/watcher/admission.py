"""Lets calls in or refuses them, and looks after them until they are over.

What is common to both ways in: whole small calls (:mod:`dcf.watcher.http.http_protocol`) and all
others (:mod:`dcf.watcher.http.asgi`). Not here: HTTP.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import Callable, Sequence

from dcf.errors import (
    BodyTooLarge,
    DcfError,
    FunctionNotFound,
    NotReady,
    Overloaded,
    ReplicaLost,
)
from dcf.function.request import Request
from dcf.protocol import hosts, http
from dcf.protocol.call_table import EarlierAttempt
from dcf.protocol.stream import JSON_LINES_NAMES, accepted_format
from dcf.settings import WatcherSettings
from dcf.telemetry.ids import is_usable, new_request_id
from dcf.watcher.attempts import Attempts
from dcf.watcher.body_budget import BodyBudget
from dcf.watcher.call import Call, CallState, Receive
from dcf.watcher.deadlines import CallMonitor
from dcf.watcher.execution.executors import Executor
from dcf.watcher.execution.request_stream import RequestStream
from dcf.watcher.http import methods
from dcf.watcher.http.responses import ATTEMPT, Headers, attempt_of
from dcf.watcher.lifecycle import Lifecycle
from dcf.watcher.revoked import Revoked

_REQUEST_ID = http.REQUEST_ID.encode()
_DEADLINE_MS = http.DEADLINE_MS.encode()
_HELD_MS = http.HELD_MS.encode()
_KEY = http.KEY.encode()
_LOOKED_AT = frozenset({
    _KEY, _REQUEST_ID, _DEADLINE_MS, _HELD_MS, ATTEMPT, b"accept", b"connection", b"content-length",
    b"content-type", b"transfer-encoding",
})  # fmt: skip
_LINES = re.compile(
    rb"(?i:%b)\s*(;.*)?" % b"|".join(re.escape(kind.encode()) for kind in JSON_LINES_NAMES)
)
_USABLE_MS = re.compile(rb"[0-9]{1,12}")


class Dispatcher:
    """Every call passes it twice: when it comes and when it is over. On the server's loop.

    Attributes:
        lane: Where the handler runs; None until it is ready.
        closing: Whether each reply also ends its connection, because the replica drains.
        max_body: Bytes of the largest body.
        bodies: Limits the bytes of bodies that wait in memory.
    """

    def __init__(
        self,
        settings: WatcherSettings,
        life: Lifecycle,
        loop: asyncio.AbstractEventLoop,
        *,
        on_slow: Callable[[Call], None],
        on_stuck: Callable[[Call], None],
    ) -> None:
        """A desk that lets nobody in yet.

        Args:
            settings: Bounds.
            life: The replica's state.
            loop: The server's.
            on_slow: Called for a call that is not over at once; maybe several times.
            on_stuck: Called when a handler goes on after deadline and grace.
        """
        self.lane: Executor | None = None
        self.closing = False
        self.max_body = settings.max_body
        self.bodies = BodyBudget(settings.waiting_bodies)
        self._attempts: Attempts | None = None
        self._settings = settings
        self._life = life
        self._loop = loop
        self._room = 0
        self._submitted: list[Call] = []
        self._revoked = Revoked()
        names = settings.hosts.split(",")
        self._hosts = None if hosts.ANY in names else hosts.AllowedHosts(filter(None, names))
        self._own_path = http.FUNCTION_PREFIX + settings.function
        self._sweeper = CallMonitor(
            loop,
            settings,
            self.bodies,
            on_slow=on_slow,
            on_expired=self._interrupt,
            on_stuck=on_stuck,
        )

    def open(self, lane: Executor) -> None:
        """Lets calls in, to be handled by ``lane``."""
        self._attempts = Attempts.of(self._settings, lane.concurrency, self._loop)
        self.lane = lane
        self._room = lane.concurrency + self._settings.queue

    def admit(  # noqa: C901, PLR0912  one look at the headers, on the path of every call
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        *,
        settled: Callable[[Call], None],
        receive: Receive | None = None,
    ) -> Call:
        """Lets a call in; it is to be released when it is over.

        Args:
            method: The HTTP method.
            path: The URL's path, decoded.
            query: Its query string.
            headers: Names in lower case.
            settled: Called once, when the outcome is there or the call was given up.
            receive: ASGI's ``receive``; None where the client's end is told without it.

        Raises:
            BodyTooLarge: By its ``Content-Length``.
            FunctionNotFound: When it is for another function.
            HostNotAllowed: When its ``Host`` is not allowed.
            MethodNotAllowed, PreflightRefused: When requests of this kind never reach a handler.
            NotReady: When the handler has not started yet, or the replica drains and another
                replica takes the call.
            Overloaded: When the queue is full.
            ReplicaLost: When the call had begun in a replica that has ended.
        """
        if self._hosts is not None:
            self.check_host(headers)
        now, settings = time.monotonic(), self._settings
        if method in methods.SPECIAL:
            methods.check(method, headers, preflight=settings.preflight)
        request_id, accept, content_type, ends = b"", b"", b"", math.inf
        key = b""
        last = chunked = held = False
        attempt = 0
        for name, value in headers:
            if name not in _LOOKED_AT:
                continue
            if name == _REQUEST_ID and is_usable(value):
                request_id = value
            elif name == _DEADLINE_MS and _USABLE_MS.fullmatch(value):
                ends = now + int(value) / 1000
            elif name == b"connection":
                last = value.lower() == b"close"
            elif name == _HELD_MS:
                held = True
            elif name == ATTEMPT:
                attempt = attempt_of(value)
            elif name == _KEY:
                key = value
            elif name == b"content-type":
                content_type = value
            elif name == b"accept":
                accept = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"content-length" and int(value) > settings.max_body:
                raise BodyTooLarge(settings.max_body)
        if self.lane is None:
            raise NotReady(f"{settings.function} is {self._life.state}")
        arrived, admitted, given_id = now, held, request_id
        if (
            self._attempts is not None
            and (held or attempt > 1 or self.closing)
            and (earlier := self._earlier(self._attempts, request_id))
        ):
            arrived, ends, admitted = earlier.arrived, min(ends, earlier.ends), True
        # What a gateway has held comes all at once, and has waited its turn already.
        if self._room <= 0 and not admitted:
            raise self._overloaded()
        if key:
            self._revoked.check(key.decode("latin-1"))
            headers[:] = [each for each in headers if each[0] != _KEY]  # handlers must not see it
        request_id = request_id or new_request_id()
        request = Request(
            method=method,
            path=self._path(path),
            query=query,
            headers=headers,
            function=settings.function,
            request_id=request_id,
            ends=min(arrived + settings.timeout, ends),
            until=ends,
        )
        call = Call(
            request,
            receive,
            settled,
            request_id=request_id if settings.request_ids else b"",
            last=last,
            arrived=arrived,
            limit=settings.timeout,
            idle=settings.idle_timeout,
            ends=ends,
            chunked=chunked,
            lines=bool(content_type and _LINES.fullmatch(content_type))
            and (
                (chunked and self.lane.generator)
                or accepted_format(accept.decode("latin-1")) is not None
            ),
        )
        call.admitted, call.given_id, call.attempt = admitted, given_id, attempt
        call.key = key.decode("latin-1")
        self._sweeper.add(call)
        return call

    def _earlier(self, attempts: Attempts, request_id: bytes) -> EarlierAttempt | None:
        """Return what another replica recorded about a call before it came here.

        Raises:
            NotReady: If this replica drains, so that the call must move again.
            ReplicaLost: If the call had begun.
        """
        if self.closing:
            raise NotReady(f"{self._settings.function} is {self._life.state}")
        earlier = attempts.earlier(request_id)
        if earlier is not None and earlier.begun:
            raise ReplicaLost("the replica ended after the handler had begun this call")
        return earlier

    def _overloaded(self) -> Overloaded:
        concurrency = self.lane.concurrency if self.lane is not None else 0
        waiting = f"{concurrency} running and {self._settings.queue} waiting"
        return Overloaded(f"{self._settings.function} has {waiting} calls already")

    def check_host(self, headers: Headers) -> None:
        """Check the ``Host`` of a request, unless every host is allowed.

        Raises:
            HostNotAllowed: If it is not allowed.
        """
        if self._hosts is not None:
            for name, value in headers:
                if name == b"host":
                    self._hosts.check(value)

    def _path(self, path: str) -> str:
        """The path that the handler sees, behind a gateway or not."""
        if path == self._own_path:
            return "/"
        if not path.startswith(http.FUNCTION_PREFIX):
            return path
        if path.startswith(self._own_path + "/"):
            return path[len(self._own_path) :]
        name = path.removeprefix(http.FUNCTION_PREFIX).partition("/")[0]
        near = (self._settings.function,)
        raise FunctionNotFound(f"this is {self._settings.function}, not {name}", near)

    def submit(self, call: Call) -> None:
        """Hands a call whose body is there, or the first message of it, to the handler.

        It joins the queue only now: a body that is still arriving takes no place. Not at
        once, but with all others of this turn of the loop: woken for the first, the handler
        would take the interpreter between any two, and each would cost two changes of thread.
        """
        lane = self.lane
        assert lane is not None  # noqa: S101  the call was admitted
        if self._room <= 0 and not call.admitted:
            call.end(self._overloaded())
            return
        self._room -= 1
        call.placed = True
        if self._attempts is not None:
            self._attempts.enter(call)
        call.to(CallState.WAITING)
        call.interrupt = lane.cancel
        if call.inbox is not None:
            call.work()
        self._submitted.append(call)
        if len(self._submitted) == 1:
            self._loop.call_soon(self._hand_over, lane)

    def _hand_over(self, lane: Executor) -> None:
        submitted, self._submitted = self._submitted, []
        lane.submit(submitted)

    def is_stream(self, call: Call) -> bool:
        """Whether the body of a call over HTTP is many messages to the handler."""
        return call.lines or (call.chunked and self.lane is not None and self.lane.generator)

    def open_stream(self, call: Call, on_room: Callable[[], object]) -> None:
        """Makes ``call`` one of many messages, which come by :meth:`pass_on`.

        Args:
            call: Admitted and not yet submitted.
            on_room: Called once there is room for messages again, on the loop.
        """
        call.inbox = RequestStream(
            self._loop, on_room=on_room, on_wait=call.rest, on_work=call.work
        )
        call.request.attach(call.inbox)
        call.rest()

    def pass_on(self, call: Call, messages: Sequence[bytes]) -> bool:
        """Hands on messages of a stream; the first starts the handler.

        Returns:
            Whether there is room for more; if not, ``on_room`` is called once there is.
        """
        inbox = call.inbox
        if not messages or inbox is None or call.state is CallState.ENDED:
            return True
        call.progress()
        has_room = inbox.put(messages)
        if call.state is CallState.READING:
            call.request.input = messages[0]
            self.submit(call)
        return has_room

    def no_more(self, call: Call) -> None:
        """The client has sent the last message of a stream."""
        call.unread = False
        if call.inbox is not None:
            call.inbox.end()
        if call.state is CallState.READING:
            self.submit(call)

    def release(self, call: Call) -> None:
        """The caller has its answer, or needs none."""
        if call.placed:
            self._room += 1
            if self._attempts is not None:
                self._attempts.leave(call)
        if call.received:
            self.bodies.release(call)
        self._sweeper.discard(call)

    def hand_back(self, reason: str, most: int = sys.maxsize) -> None:
        """Hand calls that the handler has not begun back to the gateway, newest first.

        Args:
            reason: Why. The caller sees it if no other replica takes the call.
            most: Maximum number of calls. Calls that the gateway cannot retry stay.
        """
        if self._attempts is None or self.lane is None:
            return
        self._hand_over(self.lane)
        for call in self.lane.reclaim(most, lambda call: call.movable):
            call.moved_on = True
            call.end(NotReady(reason))

    def load(self) -> dict[str, int]:
        """Count the calls in the handler and those that wait for it."""
        lane = self.lane
        if lane is None:
            return {"concurrency": 0, "running": 0, "waiting": 0}
        waiting = lane.waiting() + len(self._submitted)
        running = sum(call.busy for call in self._sweeper)
        return {"concurrency": lane.concurrency, "running": running, "waiting": waiting}

    def answered(self, call: Call) -> None:
        """The handler's outcome for ``call`` is there, or the first chunk of it."""
        if call.state is CallState.WAITING:
            call.answer()
        elif call.pipe is not None:
            call.pipe.abandon()

    def revoke(self, body: bytes) -> None:
        """End the calls of revoked keys. Arguments and errors: see :meth:`Revoked.take`."""
        self._revoked.take(body, self._sweeper)

    def end_all(self, error: DcfError) -> None:
        """End every call in progress; hand those back that can begin elsewhere."""
        if self.lane is not None:
            self._hand_over(self.lane)
            for call in self.lane.reclaim(sys.maxsize, lambda _: True):
                call.moved_on = True
        for call in self._sweeper:
            call.end(error)

    def _interrupt(self, call: Call) -> None:
        if self.lane is not None:
            self.lane.cancel(call)
