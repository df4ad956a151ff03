"""Admits calls or rejects them, and tracks them until they are over.

Both paths of a call use it: whole small calls (:mod:`dcf.watcher.http.http_protocol`) and all
others (:mod:`dcf.watcher.http.asgi`). It contains nothing of HTTP's framing.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import Callable, Sequence
from time import monotonic

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
from dcf.watcher.call import (
    ENDED,
    READING,
    WAITING,
    WHOLE,
    BodyKind,
    Call,
    CallStream,
    Clock,
    Recipient,
)
from dcf.watcher.deadlines import CallMonitor
from dcf.watcher.execution.executors import Executor
from dcf.watcher.execution.request_stream import RequestStream
from dcf.watcher.http import methods
from dcf.watcher.http.responses import ATTEMPT, Headers, attempt_of
from dcf.watcher.lifecycle import Lifecycle
from dcf.watcher.observer import NullObserver, Observer
from dcf.watcher.revoked import Revoked

_REQUEST_ID = http.REQUEST_ID.encode()
_DEADLINE_MS = http.DEADLINE_MS.encode()
_HELD_MS = http.HELD_MS.encode()
_KEY = http.KEY.encode()
_READ = frozenset({
    _KEY, _REQUEST_ID, _DEADLINE_MS, _HELD_MS, ATTEMPT, b"accept", b"content-length",
    b"content-type", b"transfer-encoding",
})  # fmt: skip
"""The headers that :meth:`Dispatcher.admit` reads."""
_LINES = re.compile(
    rb"(?i:%b)\s*(;.*)?" % b"|".join(re.escape(kind.encode()) for kind in JSON_LINES_NAMES)
)
_USABLE_MS = re.compile(rb"[0-9]{1,12}")


class Dispatcher:
    """Tracks each call from its admission to its release. All methods run on the server's loop.

    Attributes:
        executor: Runs the handler; None until the handler is ready.
        closing: Whether each reply also closes its connection, because the replica drains.
        max_body: Size of the largest body in bytes.
        bodies: Limits the bytes of bodies that wait in memory.
    """

    def __init__(
        self,
        settings: WatcherSettings,
        life: Lifecycle,
        loop: asyncio.AbstractEventLoop,
        *,
        on_stuck: Callable[[Call], None],
        observer: Observer | None = None,
    ) -> None:
        """Create a dispatcher that rejects calls until :meth:`open`.

        Args:
            settings: Limits.
            life: The replica's state.
            loop: The server's loop.
            on_stuck: Called when a handler continues after deadline and grace.
            observer: Is notified of each admission and release.
        """
        self.executor: Executor | None = None
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
        observer = observer or NullObserver()
        self._on_admitted = observer.admitted
        self._on_released = observer.released
        names = settings.hosts.split(",")
        self._hosts = None if hosts.ANY in names else hosts.AllowedHosts(filter(None, names))
        self._own_path = http.FUNCTION_PREFIX + settings.function
        self._roots = frozenset({"/", self._own_path})
        self._max_digits = len(str(settings.max_body))
        self._monitor = CallMonitor(
            loop, settings, self.bodies, on_expired=self._interrupt, on_stuck=on_stuck
        )

    def open(self, executor: Executor) -> None:
        """Admit calls from now on; ``executor`` handles them."""
        self._attempts = Attempts.of(self._settings, executor.concurrency, self._loop)
        self.executor = executor
        self._room = executor.concurrency + self._settings.queue

    def admit(  # noqa: C901, PLR0912, PLR0915  reads the headers once, on the path of every call
        self, method: str, path: str, query: bytes, headers: Headers, recipient: Recipient
    ) -> Call:
        """Admit a call. Release it when it is over.

        Args:
            method: The HTTP method.
            path: The URL's path, decoded.
            query: Its query string.
            headers: Names in lower case.
            recipient: Waits for the reply.

        Raises:
            BodyTooLarge: If its ``Content-Length`` exceeds the limit.
            FunctionNotFound: If it is for another function.
            HostNotAllowed: If its ``Host`` is not allowed.
            MethodNotAllowed, PreflightRefused: If requests of this kind never reach a handler.
            NotReady: If the handler has not started yet, or the replica drains and another replica
                accepts the call.
            Overloaded: If the queue is full.
            ReplicaLost: If the call had begun in a replica that has ended.
        """
        if self._hosts is not None:
            self.check_host(headers)
        now, settings = monotonic(), self._settings
        if method in methods.SPECIAL:
            methods.check(method, headers, preflight=settings.preflight)
        given_id = accept = content_type = key = b""
        ends = math.inf
        is_chunked = is_held = False
        attempt = 0
        for name, value in headers:
            if name not in _READ:
                continue
            # The headers of every call come first.
            if name == _REQUEST_ID:
                if is_usable(value):
                    given_id = value
            elif name == b"content-length":
                if len(value) >= self._max_digits and int(value) > settings.max_body:
                    raise BodyTooLarge(settings.max_body)
            elif name == ATTEMPT:
                attempt = 1 if value == b"1" else attempt_of(value)
            elif name == b"content-type":
                content_type = value
            elif name == b"accept":
                accept = value
            elif name == _KEY:
                key = value
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == _HELD_MS:
                is_held = True
            elif _USABLE_MS.fullmatch(value):
                ends = now + int(value) / 1000
        executor = self.executor
        if executor is None:
            raise NotReady(f"{settings.function} is {self._life.state}")
        arrived, is_admitted = now, is_held
        if (
            (is_held or attempt > 1 or self.closing)
            and self._attempts is not None
            and (earlier := self._earlier(self._attempts, given_id))
        ):
            arrived, ends, is_admitted = earlier.arrived, min(ends, earlier.ends), True
        # The gateway sends all calls that it has held at once. They have waited already.
        if self._room <= 0 and not is_admitted:
            raise self._overloaded()
        key_id = ""
        if key:
            key_id = key.decode("latin-1")
            self._revoked.check(key_id)
            headers[:] = [pair for pair in headers if pair[0] != _KEY]  # handlers must not see it
        request_id = given_id or new_request_id()
        clock = Clock(arrived, settings.timeout, ends)
        request = Request(
            method=method,
            path="/" if path in self._roots else self._path(path),
            query=query,
            headers=headers,
            function=settings.function,
            request_id=request_id,
            ends=clock.deadline,
            until=ends,
        )
        reply_id = request_id if settings.request_ids else b""
        call = Call(request, clock, recipient, reply_id, given_id, key_id, attempt, is_admitted)
        if content_type or is_chunked:
            call.body_kind = _body_kind(
                content_type, accept, is_chunked=is_chunked and executor.generator
            )
        self._monitor.add(call)
        self._on_admitted(call)
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
        concurrency = self.executor.concurrency if self.executor is not None else 0
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
        """Return the path that the handler sees. It is the same with and without a gateway."""
        if not path.startswith(http.FUNCTION_PREFIX):
            return path
        if path.startswith(self._own_path + "/"):
            return path[len(self._own_path) :]
        name = path.removeprefix(http.FUNCTION_PREFIX).partition("/")[0]
        near = (self._settings.function,)
        raise FunctionNotFound(
            f"expected a call of {self._settings.function}, got one of {name}", near
        )

    def submit(self, call: Call) -> None:
        """Pass a call to the executor: its body has arrived, or the first message of a stream.

        The call joins the queue only now, so a body that is still arriving takes no place. The
        executor gets all calls of one iteration of the loop together. Woken for the first of them,
        the handler would take the interpreter between any two, and each call would cost two thread
        switches.
        """
        executor = self.executor
        assert executor is not None  # noqa: S101  the call was admitted
        if self._room <= 0 and not call.is_admitted:
            call.end(self._overloaded())
            return
        self._room -= 1
        call.is_placed = True
        if self._attempts is not None:
            self._attempts.enter(call)
        call.to(WAITING)
        if call.stream is not None:
            call.work()
        submitted = self._submitted
        submitted.append(call)
        if len(submitted) == 1:
            self._loop.call_soon(self._hand_over, executor)

    def _hand_over(self, executor: Executor) -> None:
        submitted, self._submitted = self._submitted, []
        executor.submit(submitted)

    def open_stream(self, call: Call, on_room: Callable[[], object]) -> CallStream:
        """Make ``call`` a stream, whose messages come by :meth:`pass_on`.

        Args:
            call: Admitted and not yet submitted.
            on_room: Called on the loop when there is room for messages again.
        """
        requests = RequestStream(self._loop, on_room=on_room, on_wait=call.rest, on_work=call.work)
        call.stream = CallStream(self._interrupt, requests)
        call.request.attach(requests)
        call.rest()
        return call.stream

    def pass_on(self, call: Call, messages: Sequence[bytes]) -> bool:
        """Pass messages of a stream to the handler. The first message starts the handler.

        Returns:
            Whether there is room for more; if not, ``on_room`` is called once there is.
        """
        requests = call.requests
        if not messages or requests is None or call.state is ENDED:
            return True
        call.progress()
        has_room = requests.put(messages)
        if call.state is READING:
            call.request.input = messages[0]
            self.submit(call)
        return has_room

    def no_more(self, call: Call) -> None:
        """Note that the client has sent the last message of a stream."""
        call.is_unread = False
        if call.requests is not None:
            call.requests.end()
        if call.state is READING:
            self.submit(call)

    def release(self, call: Call) -> None:
        """Stop tracking a call: the caller has its reply or needs none. Call this once."""
        if call.is_placed:
            self._room += 1
            if self._attempts is not None:
                self._attempts.leave(call)
        if call.body is not None:
            self.bodies.release(call)
        self._monitor.discard(call)
        self._on_released(call)

    def hand_back(self, reason: str, most: int = sys.maxsize) -> None:
        """Hand calls that the handler has not begun back to the gateway, newest first.

        Args:
            reason: Why. The caller sees it if no other replica takes the call.
            most: Maximum number of calls. Calls that the gateway cannot retry stay.
        """
        if self._attempts is None or self.executor is None:
            return
        self._hand_over(self.executor)
        for call in self.executor.reclaim(most, lambda call: call.is_movable):
            call.has_moved = True
            call.end(NotReady(reason))

    def load(self) -> dict[str, int]:
        """Count the calls in the handler and those that wait for it."""
        executor = self.executor
        if executor is None:
            return {"concurrency": 0, "running": 0, "waiting": 0}
        waiting = executor.waiting() + len(self._submitted)
        running = sum(call.clock.is_running for call in self._monitor)
        return {"concurrency": executor.concurrency, "running": running, "waiting": waiting}

    def answered(self, call: Call) -> None:
        """Accept the handler's outcome for ``call``, or the first chunk of it."""
        if call.state is WAITING:
            call.answer()
        elif call.replies is not None:
            call.replies.abandon()

    def revoke(self, body: bytes) -> None:
        """End the calls of revoked keys. Arguments and errors: see :meth:`Revoked.take`."""
        self._revoked.take(body, self._monitor)

    def end_all(self, error: DcfError) -> None:
        """End every call in progress; hand those back that can begin elsewhere."""
        if self.executor is not None:
            self._hand_over(self.executor)
            for call in self.executor.reclaim(sys.maxsize, lambda _: True):
                call.has_moved = True
        for call in self._monitor:
            call.end(error)

    def _interrupt(self, call: Call) -> None:
        if self.executor is not None:
            self.executor.cancel(call)


def _body_kind(content_type: bytes, accept: bytes, *, is_chunked: bool) -> BodyKind:
    """Return what a body is to the handler.

    Args:
        content_type: The request's content type.
        accept: What the client accepts: a stream only if it names a form of one.
        is_chunked: Whether the body has no length and the handler is a generator.
    """
    if _LINES.fullmatch(content_type) and (
        is_chunked or accepted_format(accept.decode("latin-1")) is not None
    ):
        return BodyKind.LINES
    return BodyKind.CHUNKS if is_chunked else WHOLE
