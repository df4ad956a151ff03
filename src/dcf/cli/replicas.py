"""Replicas for commands, which are synchronous: the engine runs on an event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any, Self, TypeVar

from dcf.engines.base import Engine, ReplicaSpec
from dcf.errors import DcfError, ReplicaExited, StartError, StartTimeout
from dcf.model.replica import Observation, ReplicaExit, ReplicaId, ReplicaState
from dcf.protocol.report import Report

T = TypeVar("T")

OVERDUE = 5.0
"""Seconds to wait for a replica that should have ended its start by itself. A constructor that
holds the interpreter's lock prevents that."""

DRAIN_TIMEOUT = 2.0
"""Seconds to wait for a replica to report that it drains. A handler that holds the interpreter's
lock prevents that."""

EXIT_REASON_TIMEOUT = 1.0
"""Seconds to wait for the end of a replica whose connection broke."""


class CommandEngine:
    """An engine and its replicas. As a context manager it ends all replicas after the block."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Engine]]) -> None:
        """Create it without starting anything.

        Args:
            opened: Opens the engine. It is called in the thread of the event loop.
        """
        self._opened = opened
        self._thread = threading.Thread(target=self._run, name="engine")
        self._started: Future[Engine] = Future()
        self._changed = threading.Condition()
        self._observations: dict[ReplicaId, Observation] = {}
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._is_closing = False

    def __enter__(self) -> Self:
        """Open the engine.

        Raises:
            StorageError: If it cannot create its folder.
        """
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all replicas and close the engine."""
        self._close()

    def _close(self) -> None:
        self._is_closing = True
        if self._loop is not None and self._done is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def describe_gpus(self) -> tuple[str, ...]:
        """Return lines for people about the engine's GPUs."""
        return self._call(self._started.result().describe_gpus())

    def start(
        self,
        spec: ReplicaSpec,
        listener: socket.socket | None,
        held: ExitStack,
    ) -> CommandReplica:
        """Start a replica. Return before it is ready.

        Args:
            spec: What to run.
            listener: A listening socket to hand over; None without one.
            held: Closed once the replica has ended, or could not be started.
        """
        try:
            self._call(self._started.result().start(spec, listener))
        except BaseException:
            held.close()
            raise
        return CommandReplica(self, spec, held)

    def wait(
        self,
        replica: ReplicaId,
        holds: Callable[[Observation], bool],
        timeout: float,
    ) -> Observation | None:
        """Wait until a condition holds for a replica's observation; None after the timeout."""
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                observation = self._observations.get(replica)
                if observation is not None and holds(observation):
                    return observation
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def stop(self, replica: ReplicaId, grace: float) -> Future[None]:
        """Begin to end a replica."""
        return self._submit(self._started.result().stop(replica, grace))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return self._submit(work).result()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        assert self._loop is not None  # noqa: S101  set before the engine is open
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  raised in the command's thread
            if not self._started.done():
                self._started.set_exception(error)
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with self._opened() as engine, contextlib.aclosing(engine.observe()) as items:
            self._take(await anext(items))
            self._started.set_result(engine)
            if self._is_closing:
                return
            observing = asyncio.ensure_future(self._observe(items))
            finished = asyncio.ensure_future(self._done.wait())
            try:
                await asyncio.wait({observing, finished}, return_when=asyncio.FIRST_COMPLETED)
                if observing.done():
                    observing.result()
            finally:
                for task in (observing, finished):
                    task.cancel()
                await asyncio.gather(observing, finished, return_exceptions=True)

    async def _observe(
        self, items: AsyncGenerator[tuple[Observation, ...] | Observation, None]
    ) -> None:
        async for item in items:
            self._take(item)

    def _take(self, item: tuple[Observation, ...] | Observation) -> None:
        observations = item if isinstance(item, tuple) else (item,)
        with self._changed:
            self._observations |= {observation.id: observation for observation in observations}
            self._changed.notify_all()


class CommandReplica:
    """A replica that was started."""

    def __init__(self, engine: CommandEngine, spec: ReplicaSpec, held: ExitStack) -> None:
        """Follow a replica.

        Args:
            engine: Its engine.
            spec: What it runs.
            held: Closed once it has ended.
        """
        self._engine = engine
        self._id = spec.id
        self._start_timeout = spec.settings.start_timeout
        self._started = time.monotonic()
        self._held = held

    def limits(self) -> tuple[str, ...]:
        """Return each of its limits with what enforces it, for people."""
        observation = self._engine.wait(self._id, lambda _: True, OVERDUE)
        return observation.limits if observation else ()

    def wait_ready(self) -> str:
        """Wait until the replica accepts calls; return its endpoint.

        Raises:
            StartError: What kept the handler from starting, with the author's traceback.
            ReplicaExited: If the process ended without a report.
            StartTimeout: If ``start_timeout`` of its settings has passed.
        """
        left = self._started + self._start_timeout + OVERDUE - time.monotonic()
        observation = self._engine.wait(
            self._id, lambda seen: seen.state is not ReplicaState.STARTING, left
        )
        if observation is None:
            raise StartTimeout(
                f"the handler was not ready within {self._start_timeout:g} s; it holds the"
                " interpreter's lock, so the replica cannot report where"
            )
        if observation.state is ReplicaState.READY:
            return observation.endpoint
        if observation.exit is None or not observation.exit.error:
            exit_ = self.wait(OVERDUE) or observation.exit
            raise ReplicaExited(f"the replica ended before it was ready: {_reason(exit_)}")
        raise _start_error(observation.exit)

    def poll(self) -> ReplicaExit | None:
        """Return how the replica ended; None while it runs."""
        return self.wait(0.0)

    def wait(self, timeout: float) -> ReplicaExit | None:
        """Wait for the end of the replica, at most ``timeout`` seconds; None if it still runs."""
        observation = self._engine.wait(
            self._id, lambda seen: seen.state is ReplicaState.EXITED, timeout
        )
        return observation.exit if observation else None

    def explain(self, error: DcfError) -> DcfError:
        """Return ``error``, or an error with the reason if the replica has ended.

        The end of the process explains more than a broken connection does.
        """
        exit_ = self.wait(EXIT_REASON_TIMEOUT)
        if exit_ is None:
            return error
        return type(error)(f"the replica ended during the call: {_reason(exit_)}")

    def drain(self, grace: float) -> None:
        """Make the replica end after its calls; return once it accepts no more.

        Args:
            grace: Seconds for the calls. After that the replica is killed.
        """
        self.begin_stop(grace)
        draining = (ReplicaState.DRAINING, ReplicaState.EXITED)
        self._engine.wait(self._id, lambda seen: seen.state in draining, DRAIN_TIMEOUT)

    def begin_stop(self, grace: float) -> Future[None]:
        """Begin to end the replica and all its descendants.

        Args:
            grace: Seconds for the calls in progress; the shortest of several holds.
        """
        stopping = self._engine.stop(self._id, grace)
        stopping.add_done_callback(lambda _: self._held.close())
        return stopping

    def stop(self, grace: float) -> None:
        """End the replica and all its descendants, and wait until they have ended."""
        self.begin_stop(grace).result()


def _reason(exit_: ReplicaExit | None) -> str:
    return exit_.reason if exit_ is not None else "unknown reason"


def _start_error(exit_: ReplicaExit) -> StartError:
    report = Report(
        ReplicaState.FAILED, error=exit_.error, detail=exit_.reason, traceback=exit_.traceback
    )
    return report.to_error()
