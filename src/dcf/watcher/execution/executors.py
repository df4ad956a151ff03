"""The executors, which run handlers. A handler never runs on the server's loop.

:class:`ThreadExecutor` calls a plain handler in one thread that also ran its constructor, or in
several threads at a higher concurrency. :class:`AsyncExecutor` runs an async handler on a separate
loop, so that a handler that blocks by mistake blocks neither health checks nor deadlines.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Protocol

from dcf.errors import StartError, UnsupportedReply
from dcf.function.reply import encode
from dcf.function.request import CURRENT
from dcf.watcher.call import Call
from dcf.watcher.execution import forking, loading, message_adapter
from dcf.watcher.execution.contexts import Contexts
from dcf.watcher.execution.loading import Handler
from dcf.watcher.execution.loop_queue import LoopQueue
from dcf.watcher.execution.streaming import Answered, StreamedReply, handler_error
from dcf.watcher.execution.work_queue import WorkQueue

HANDLER_THREAD = "handler-"
"""Prefix of the names of the threads in which handlers run."""

PLAIN_CONCURRENCY = 1
ASYNC_CONCURRENCY = 1000
"""Concurrent calls if the author set no number. ``WatcherSettings.concurrency`` has the reason."""

Lost = Callable[[BaseException], object]
"""Called with the error that ended a handler's thread or loop. Any thread may call it."""


class Executor(Protocol):
    """Runs the handler on calls, and returns each call to the server's loop.

    Attributes:
        concurrency: Number of calls that run at the same time.
        generator: Whether one call of the handler replies to a whole stream.
        place: Where handlers run, as a noun for messages.
    """

    concurrency: int
    generator: bool
    place: str

    def run(self, target: Any, opened: Callable[[], object]) -> None:
        """Construct the handler and serve until closed. All in this thread.

        Args:
            target: The author's class or function.
            opened: Called once calls can be submitted.

        Raises:
            StartError: If the handler cannot be constructed.
        """

    def submit(self, calls: Sequence[Call]) -> None:
        """Run the handler on each of ``calls`` when its turn comes."""

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that the handler has not begun, newest first.

        Args:
            most: Maximum number of calls.
            wanted: Returns whether a call can be taken back. Other calls stay.
        """

    def waiting(self) -> int:
        """Count the calls that the handler has not begun."""

    def cancel(self, call: Call) -> None:
        """Interrupt the handler of ``call``, if that is possible."""

    def close(self) -> None:
        """End once the submitted calls are done. No call is submitted after this."""


def choose(
    target: Any,
    answered: Answered,
    loop: asyncio.AbstractEventLoop,
    concurrency: int,
    lost: Lost,
) -> Executor:
    """Create the executor for a handler.

    Args:
        target: The author's class or function.
        answered: Returns each call to the loop.
        loop: The server's loop.
        concurrency: Number of concurrent calls; 0 for the default of this kind of handler.
        lost: Called if a thread or loop of the executor ends before the executor is closed.
    """
    generator = loading.is_generator(target)
    if loading.is_async(target):
        concurrency = concurrency or ASYNC_CONCURRENCY
        return AsyncExecutor(answered, loop, concurrency, generator=generator, lost=lost)
    concurrency = concurrency or PLAIN_CONCURRENCY
    return ThreadExecutor(answered, loop, concurrency, generator=generator, lost=lost)


class ThreadExecutor:
    """Runs plain handlers."""

    place = "thread"

    def __init__(
        self,
        answered: Answered,
        loop: asyncio.AbstractEventLoop,
        concurrency: int,
        *,
        generator: bool,
        lost: Lost,
    ) -> None:
        """Create an executor. See :func:`choose` for the arguments."""
        self.concurrency = concurrency
        self.generator = generator
        self._answered = answered
        self._loop = loop
        self._lost = lost
        self._calls: WorkQueue[Call | None]

    def submit(self, calls: Sequence[Call]) -> None:
        """Append ``calls`` to the queue."""
        self._calls.give(calls)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that no thread has taken, newest first."""
        reclaimed = self._calls.reclaim(most, lambda call: call is not None and wanted(call))
        return [call for call in reclaimed if call is not None]

    def waiting(self) -> int:
        """Count the calls that no thread has taken."""
        return len(self._calls)

    def cancel(self, call: Call) -> None:
        """Do nothing: a thread cannot be interrupted. The handler can check ``req.cancelled``."""

    def close(self) -> None:
        """End each thread after the queued calls."""
        self._calls.give([None] * self.concurrency)

    def run(self, target: Any, opened: Callable[[], object]) -> None:
        """Construct the handler and serve until closed. Calls run in copies of this context."""
        handler = loading.construct(target)
        contexts = Contexts()
        self._calls = WorkQueue[Call | None]()
        of_stream = handler if self.generator else message_adapter.plain(handler)
        opened()
        work = (handler, of_stream, contexts)
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

    def _serve_beside(self, handler: Handler, of_stream: Handler, contexts: Contexts) -> None:
        try:
            self._serve(handler, of_stream, contexts)
        except BaseException as error:  # whatever ends the thread
            self._lost(error)

    def _serve(self, handler: Handler, of_stream: Handler, contexts: Contexts) -> None:
        take, new_context, answer = self._calls.take, contexts.new, self._answer
        while (call := take()) is not None:
            if call.failure is None and call.begin():
                # At this time, only a call with many messages has a stream.
                handle = handler if call.stream is None else of_stream
                new_context().run(answer, call, handle)

    def _answer(self, call: Call, handle: Handler) -> None:
        request = call.request
        CURRENT.set(request)
        try:
            reply = encode(handle(request))
            forking.leave_children()
            call.outcome = reply
            if not isinstance(reply.body, bytes):
                self._stream(call, reply.body)
                return
        except BaseException as error:  # the author's sys.exit included
            forking.leave_children(error)
            call.outcome = handler_error(error)
        clock = call.clock
        clock.answered = clock.finished = monotonic()
        self._answered(call)

    def _stream(self, call: Call, values: Iterator[Any] | AsyncIterator[Any]) -> None:
        stream = StreamedReply(call, self._loop, self._answered, self.cancel)
        room = threading.Event()
        failure: BaseException | None = None
        try:
            try:
                for value in _plain(values):
                    if not stream.put(value):
                        room.clear()
                        if stream.notify_room(room.set):
                            call.rest()
                            room.wait()
                    call.work()
                    if stream.abandoned:
                        break
            finally:
                if inspect.isgenerator(values):
                    # Run its ``finally`` now rather than when the object is collected.
                    values.close()
        except BaseException as error:  # the author's sys.exit included
            failure = error
        forking.leave_children(failure)
        stream.end(failure)


class AsyncExecutor:
    """Runs async handlers."""

    place = "event loop"

    def __init__(
        self,
        answered: Answered,
        loop: asyncio.AbstractEventLoop,
        concurrency: int,
        *,
        generator: bool,
        lost: Lost,
    ) -> None:
        """Create an executor. See :func:`choose` for the arguments."""
        self.concurrency = concurrency
        self.generator = generator
        self._answered = answered
        self._loop = loop
        self._lost = lost
        self._waiting: deque[Call] = deque()
        self._running: dict[Call, asyncio.Task[None]] = {}
        self._own: asyncio.AbstractEventLoop
        self._contexts: Contexts
        self._calls: LoopQueue[Call]
        self._closed = asyncio.Event()
        self._handler: Handler
        self._of_stream: Handler

    def submit(self, calls: Sequence[Call]) -> None:
        """Append ``calls`` to the queue."""
        for call in calls:
            self._calls.post(call)

    def reclaim(self, most: int, wanted: Callable[[Call], bool]) -> list[Call]:
        """Take back calls that have no task yet, newest first. Call this on the server's loop."""
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
        """Cancel the handler's task."""
        self._own.call_soon_threadsafe(self._cancel, call)

    def close(self) -> None:
        """End the loop. Tasks that still run are cancelled."""
        self._own.call_soon_threadsafe(self._closed.set)

    def run(self, target: Any, opened: Callable[[], object]) -> None:
        """Construct the handler and serve until closed, on a loop in this thread."""
        runner = asyncio.Runner()
        try:
            runner.run(self._run(target, opened))
        except StartError:
            raise
        except BaseException as error:  # whatever ends the loop
            # Report it before the loop is closed: closing waits for all of the author's tasks.
            self._lost(error)
        finally:
            runner.close()

    async def _run(self, target: Any, opened: Callable[[], object]) -> None:
        self._handler = loading.construct(target)
        adapt = message_adapter.asynchronous
        self._of_stream = self._handler if self.generator else adapt(self._handler)
        self._own = asyncio.get_running_loop()
        self._contexts = Contexts()
        self._calls = LoopQueue[Call](self._own, self._arrived)
        opened()
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
            except IndexError:  # reclaimed in between
                break
            if call.failure is None:
                self._running[call] = self._own.create_task(
                    self._serve(call), context=self._contexts.new()
                )

    def _cancel(self, call: Call) -> None:
        if task := self._running.get(call):
            task.cancel()

    async def _serve(self, call: Call) -> None:
        try:
            # The call may have ended since its task was created. It cannot be interrupted then.
            if call.failure is None and call.begin():
                CURRENT.set(call.request)
                await self._answer(call)
        finally:
            del self._running[call]
            self._start_next()

    async def _answer(self, call: Call) -> None:
        # At this time, only a call with many messages has a stream.
        handle = self._handler if call.stream is None else self._of_stream
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
        call.clock.answered = call.clock.finished = monotonic()
        self._answered(call)

    async def _stream(self, call: Call, values: Iterator[Any] | AsyncIterator[Any]) -> None:
        stream = StreamedReply(call, self._loop, self._answered, self.cancel)
        room = asyncio.Event()
        failure: BaseException | None = None
        try:
            try:
                async for value in _each(values):
                    if not stream.put(value):
                        room.clear()
                        if stream.notify_room(lambda: self._own.call_soon_threadsafe(room.set)):
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
