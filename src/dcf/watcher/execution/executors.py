"""Where handlers run: never on the server's loop.

A *thread lane* calls a plain handler, in one thread that also ran its constructor (or in several,
at a higher concurrency). A *loop lane* runs an async handler on a loop of its own, so that one that
blocks by mistake blocks neither health checks nor deadlines.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Protocol

from dcf.errors import UnsupportedReply
from dcf.function.reply import encode
from dcf.function.request import CURRENT
from dcf.watcher.call import Call
from dcf.watcher.execution import forking, message_adapter
from dcf.watcher.execution.contexts import Contexts
from dcf.watcher.execution.loading import Handler
from dcf.watcher.execution.loop_queue import LoopQueue
from dcf.watcher.execution.streaming import Answered, StreamedReply, handler_error
from dcf.watcher.execution.work_queue import WorkQueue

HANDLER_THREAD = "handler-"
"""How the names of the threads begin in which handlers run."""


class Executor(Protocol):
    """Takes calls and answers each through the callback it was made with.

    Attributes:
        concurrency: Calls at a time.
        generator: Whether one call of the handler answers a whole stream.
    """

    concurrency: int
    generator: bool

    def submit(self, calls: Sequence[Call]) -> None:
        """Runs the handler on each of ``calls`` when its turn comes."""

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that the handler has not begun, newest first.

        Args:
            most: Maximum number of calls.
            wanted: Returns whether a call can be taken back. Other calls stay.
        """

    def waiting(self) -> int:
        """Count the calls that the handler has not begun."""

    def cancel(self, call: Call) -> None:
        """Interrupts ``call``, which the handler is at work on, if that can be done."""

    def close(self) -> None:
        """Lets the lane end: no calls come any more."""


class ThreadExecutor:
    """Plain handlers."""

    def __init__(
        self,
        answered: Answered,
        loop: asyncio.AbstractEventLoop,
        concurrency: int,
        *,
        generator: bool,
        lost: Callable[[BaseException | None], None],
    ) -> None:
        """Create a lane in the constructor's thread: calls run in copies of its context.

        Args:
            answered: Takes each call back.
            loop: The server's.
            concurrency: Calls at a time.
            generator: Whether one call of the handler answers a whole stream.
            lost: Called if a thread of the lane ends before the lane is closed.
        """
        self.concurrency = concurrency
        self.generator = generator
        self._answered = answered
        self._loop = loop
        self._lost = lost
        self._contexts = Contexts()
        self._calls = WorkQueue[Call | None]()

    def submit(self, calls: Sequence[Call]) -> None:
        """Puts ``calls`` behind those that wait."""
        self._calls.give(calls)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that no thread has taken, newest first."""
        reclaimed = self._calls.reclaim(most, lambda call: call is not None and wanted(call))
        return [call for call in reclaimed if call is not None]

    def waiting(self) -> int:
        """Count the calls that no thread has taken."""
        return len(self._calls)

    def cancel(self, call: Call) -> None:
        """Does nothing: a thread cannot be interrupted; the handler may ask ``req.cancelled``."""

    def close(self) -> None:
        """Ends each thread after the calls that wait."""
        self._calls.give([None] * self.concurrency)

    def run(self, handler: Handler) -> None:
        """Serves until closed, in the thread that made the handler."""
        of_stream = handler if self.generator else message_adapter.plain(handler)
        work = (handler, of_stream)
        others = [
            threading.Thread(
                target=self._serve_beside, args=work, name=f"{HANDLER_THREAD}{n}", daemon=True
            )
            for n in range(2, self.concurrency + 1)
        ]
        for thread in others:
            thread.start()
        self._serve(*work)
        for thread in others:
            thread.join()
        self._calls.close()

    def _serve_beside(self, handler: Handler, of_stream: Handler) -> None:
        try:
            self._serve(handler, of_stream)
        except BaseException as error:  # whatever ends the thread
            self._lost(error)

    def _serve(self, handler: Handler, of_stream: Handler) -> None:
        take, context = self._calls.take, self._contexts.new
        while (call := take()) is not None:
            if call.request.cancelled or not call.begin():
                continue
            context().run(self._answer, call, handler if call.inbox is None else of_stream)

    def _answer(self, call: Call, handle: Handler) -> None:
        CURRENT.set(call.request)
        try:
            reply = encode(handle(call.request))
            forking.leave_children()
            call.outcome = reply
            if not isinstance(reply.body, bytes):
                self._stream(call, reply.body)
                return
        except BaseException as error:  # the author's sys.exit included
            forking.leave_children(error)
            call.outcome = handler_error(error)
        call.answered = call.finished = time.monotonic()
        self._answered(call)

    def _stream(self, call: Call, values: Iterator[Any] | AsyncIterator[Any]) -> None:
        stream, room = StreamedReply(call, self._loop, self._answered), threading.Event()
        failure: BaseException | None = None
        try:
            try:
                for value in _plain(values):
                    if not stream.put(value):
                        room.clear()
                        if stream.tell_room(room.set):
                            call.rest()
                            room.wait()
                    call.work()
                    if stream.abandoned:
                        break
            finally:
                if inspect.isgenerator(values):
                    # Its ``finally`` runs now rather than when memory is tidied.
                    values.close()
        except BaseException as error:  # the author's sys.exit included
            failure = error
        forking.leave_children(failure)
        stream.end(failure)


class AsyncExecutor:
    """Async handlers. Made on the loop where they run."""

    def __init__(
        self,
        answered: Answered,
        loop: asyncio.AbstractEventLoop,
        concurrency: int,
        *,
        generator: bool,
    ) -> None:
        self.concurrency = concurrency
        self.generator = generator
        self._answered = answered
        self._loop = loop
        self._waiting: deque[Call] = deque()
        self._running: dict[Call, asyncio.Task[None]] = {}
        self._own = asyncio.get_running_loop()
        self._contexts = Contexts()
        self._calls = LoopQueue[Call](self._own, self._arrived)
        self._closed = asyncio.Event()
        self._handler: Handler | None = None
        self._of_stream: Handler | None = None

    def submit(self, calls: Sequence[Call]) -> None:
        """Puts ``calls`` behind those that wait."""
        for call in calls:
            self._calls.post(call)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that have no task yet, newest first. On the server's loop."""
        # Begin with calls that have not reached the handler's loop: it may have ended.
        newest_first = self._calls.take_back()[::-1]
        reclaimed: list[Call] = []
        kept = deque[Call]()
        while len(reclaimed) < most:
            if newest_first:
                call = newest_first.pop(0)
            else:
                try:
                    call = self._waiting.pop()
                except IndexError:
                    break
            if wanted(call):
                reclaimed.append(call)
            else:
                kept.appendleft(call)
        for call in (*kept, *newest_first[::-1]):
            self._calls.post(call)
        return reclaimed

    def waiting(self) -> int:
        """Count the calls that have no task yet."""
        return len(self._waiting)

    def cancel(self, call: Call) -> None:
        """Cancels the handler's task."""
        self._own.call_soon_threadsafe(self._cancel, call)

    def close(self) -> None:
        """Ends the loop's work."""
        self._own.call_soon_threadsafe(self._closed.set)

    async def run(self, handler: Handler) -> None:
        """Serves until closed."""
        self._handler = handler
        self._of_stream = handler if self.generator else message_adapter.asynchronous(handler)
        await self._closed.wait()
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _arrived(self, call: Call) -> None:
        self._waiting.append(call)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < self.concurrency:
            try:
                call = self._waiting.popleft()
            except IndexError:  # reclaimed just now
                break
            if not call.request.cancelled:
                self._running[call] = self._own.create_task(
                    self._serve(call), context=self._contexts.new()
                )

    def _cancel(self, call: Call) -> None:
        if task := self._running.get(call):
            task.cancel()

    async def _serve(self, call: Call) -> None:
        try:
            # The call may have ended since its task was created. It cannot be interrupted then.
            if not call.request.cancelled and call.begin():
                CURRENT.set(call.request)
                await self._answer(call)
        finally:
            del self._running[call]
            self._start_next()

    async def _answer(self, call: Call) -> None:
        handle = self._handler if call.inbox is None else self._of_stream
        assert handle is not None  # noqa: S101  set before the first call is let in
        try:
            value = handle(call.request)
            reply = encode(await value if inspect.isawaitable(value) else value)
            forking.leave_children()
            call.outcome = reply
            if not isinstance(reply.body, bytes):
                await self._stream(call, reply.body)
                return
        except BaseException as error:  # the author's sys.exit included
            forking.leave_children(error)
            call.outcome = handler_error(error)
        call.answered = call.finished = time.monotonic()
        self._answered(call)

    async def _stream(self, call: Call, values: Iterator[Any] | AsyncIterator[Any]) -> None:
        stream, room = StreamedReply(call, self._loop, self._answered), asyncio.Event()
        failure: BaseException | None = None
        try:
            try:
                async for value in _each(values):
                    if not stream.put(value):
                        room.clear()
                        if stream.tell_room(lambda: self._own.call_soon_threadsafe(room.set)):
                            call.rest()
                            await room.wait()
                    call.work()
                    if stream.abandoned:
                        break
            finally:
                if inspect.isasyncgen(values):
                    call.work()
                    await values.aclose()
                elif inspect.isgenerator(values):
                    values.close()
        except BaseException as error:  # cancelled, or the author's sys.exit
            failure = error
        forking.leave_children(failure)
        stream.end(failure)


def _plain(values: Iterator[Any] | AsyncIterator[Any]) -> Iterator[Any]:
    if isinstance(values, AsyncIterator):
        raise UnsupportedReply("a plain handler returned an async generator")
    return values


async def _each(values: Iterator[Any] | AsyncIterator[Any]) -> AsyncIterator[Any]:
    if isinstance(values, AsyncIterator):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
