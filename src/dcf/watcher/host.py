"""Runs one replica: the handler in the main thread, the server's loop in a separate thread.

Python sets and runs signal handlers only in the main thread. So a handler that sets an alarm, or
imports a library that does, works as it does in a script.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop

from dcf.errors import HandlerInitFailed, NotReady, StartError, StartTimeout
from dcf.model.replica import ReplicaState
from dcf.net.listeners import endpoint_of
from dcf.protocol.exits import WatcherExit
from dcf.settings import WatcherSettings
from dcf.watcher import tracebacks
from dcf.watcher.admission import Dispatcher
from dcf.watcher.call import Call
from dcf.watcher.execution import loading
from dcf.watcher.execution.executors import Executor, choose
from dcf.watcher.execution.forking import SIGNALS, DrainHandler
from dcf.watcher.execution.loop_queue import LoopQueue
from dcf.watcher.http.asgi import AsgiApp
from dcf.watcher.http.http_protocol import HttpProtocol
from dcf.watcher.http.server import WatcherServer
from dcf.watcher.lifecycle import Lifecycle

logger = logging.getLogger("dcf.watcher")

LINGER = 0.2
"""Seconds for which calls are still accepted after the drain began. The kernel establishes a
connection before the server accepts it and before its first byte arrives. Closing the connection in
between would lose a call."""

FAREWELL = 1.0
"""Seconds that the handler's threads may take to end after the server has ended. After that, the
process ends without them."""


class Host:
    """Connects loop, server and handler, and decides how the process ends."""

    def __init__(self, settings: WatcherSettings, life: Lifecycle) -> None:
        """Create the parts of a replica.

        Args:
            settings: What to serve, and where.
            life: The replica's state.
        """
        self._settings = settings
        self._life = life
        self._exit = WatcherExit.DRAINED
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._dispatcher = Dispatcher(settings, life, self._loop, on_stuck=self._stuck)
        app = AsgiApp(self._dispatcher, settings, life, self._loop)
        self._answered = LoopQueue[Call](self._loop, self._dispatcher.answered)
        self._opened = asyncio.Event()
        self._accepting = asyncio.Event()
        self._draining = False
        self._handled = threading.Event()
        self._server = WatcherServer(
            app,
            partial(HttpProtocol, app=app),
            drain=self._settings.drain,
            on_started=self._accepting.set,
        )
        # uvicorn imports modules by name. Load them before the author's files are importable.
        self._server.config.load()

    def run(self, listener: socket.socket) -> WatcherExit:
        """Serve on ``listener`` until the replica is asked to end. Call this in the main thread.

        Returns:
            The process's exit code.
        """
        self._main = threading.get_ident()
        # Set this before the thread starts: the handler may be ready before the loop runs.
        self._starting = self._loop.call_later(self._settings.start_timeout, self._fail_late_start)
        serving = threading.Thread(target=self._serve_thread, args=(listener,), name="server")
        receiver, waker = socket.socketpair()
        with receiver, waker:
            for end in (receiver, waker):
                end.settimeout(0)
            self._loop.add_reader(receiver, self._read_signals, receiver)
            # The descriptor wakes the server at once, whatever the main thread does. The signal
            # handler still works after the author's event loop has replaced the descriptor.
            signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            handler = DrainHandler(partial(self._on_loop, self.drain))
            for number in SIGNALS:
                signal.signal(number, handler)
            serving.start()
            try:
                self._handle()
            finally:
                self._handled.set()
                serving.join()
                signal.set_wakeup_fd(-1)
        return self._exit

    def _read_signals(self, receiver: socket.socket) -> None:
        """Read the numbers of the signals that have arrived."""
        if set(receiver.recv(4096)) & set(SIGNALS):
            self.drain()

    def _serve_thread(self, listener: socket.socket) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(listener))
        except BaseException as error:
            logger.exception("the server failed")
            self._life.exited(f"the server failed: {error!r}")
            _end_now(WatcherExit.LOST)
        if not self._handled.wait(FAREWELL):
            _end_now(self._exit)

    async def _serve(self, listener: socket.socket) -> None:
        if self._settings.listen.startswith("fd:"):
            # The socket is shared with the replica that this one replaces: calls go there until
            # this one can take them.
            await self._opened.wait()
        ready = asyncio.create_task(self._report_when_ready(str(endpoint_of(listener))))
        if not self._server.should_exit:
            await self._server.serve(sockets=[listener])
        ready.cancel()
        self._draining = True
        if self._dispatcher.executor is not None:
            self._dispatcher.executor.close()

    def drain(self) -> None:
        """End the process after the calls in progress.

        In this order: report it, let new connections send their call, stop accepting connections,
        close idle ones, and wait for the others. If the socket was handed down, stop accepting at
        once, because another replica shares it.
        """
        if self._draining:
            return
        self._draining = True
        if self._settings.listen.startswith("fd:"):
            self._server.stop_accepting()
        self._dispatcher.closing = True
        self._life.draining()
        self._dispatcher.hand_back("the replica drains")
        self._opened.set()
        linger = LINGER if self._server.server_state.connections else 0.0
        self._loop.call_later(linger, self._server.finish)
        reason = NotReady("the replica ended before the call was done")
        self._loop.call_later(self._settings.drain, self._dispatcher.end_all, reason)

    async def _report_when_ready(self, address: str) -> None:
        await self._opened.wait()
        await self._accepting.wait()
        self._life.ready(address)

    def _handle(self) -> None:
        """Import, construct and call the handler, all in this thread."""
        settings = self._settings
        if settings.origin:
            tracebacks.name_files_as(str(Path(settings.root).resolve()), settings.origin)
        try:
            root, file = Path(settings.root), settings.handler_file
            folder = loading.enter(root, settings.handler_dir, file)
            target = loading.import_handler(folder, file, settings.handler_name)
            executor = choose(
                target,
                self._answered.post,
                self._loop,
                settings.concurrency,
                partial(self._on_loop, self._failed_or_lost),
            )
            executor.run(target, partial(self._on_loop, self._open, executor))
        except StartError as error:
            self._on_loop(self._failed, error)
        except BaseException as error:
            # User code may raise anything, even on attribute access. Report it instead of hanging.
            self._on_loop(self._failed_or_lost, error)

    def _on_loop(self, act: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *values)
        except RuntimeError:
            logger.debug("the server ended before the handler was ready")

    def _open(self, executor: Executor) -> None:
        if self._life.state is ReplicaState.STARTING:
            self._starting.cancel()
            self._dispatcher.open(executor)
            self._opened.set()
        else:
            executor.close()

    def _failed(self, error: StartError) -> None:
        if self._settings.log_failure:
            logger.error("%s", f"{error}\n{error.traceback}".rstrip())
        self._life.failed(error)
        self._exit = WatcherExit.HANDLER
        self._opened.set()
        self._server.finish()

    def _failed_or_lost(self, error: BaseException) -> None:
        """End the replica because its handler's thread or loop ended with ``error``."""
        if self._life.state is ReplicaState.STARTING:
            message = f"the handler cannot be started: {tracebacks.summary(error)}"
            self._failed(HandlerInitFailed(message, tracebacks.author_traceback(error)))
            return
        executor = self._dispatcher.executor
        if executor is None:
            return  # the failed start was reported already
        where = executor.place
        detail = f"the handler's {where} ended: {tracebacks.summary(error)}"
        logger.error("%s", f"{detail}\n{tracebacks.author_traceback(error)}".rstrip())
        reason = f"the replica ends because its handler's {where} has ended"
        self._end_at_once(detail, reason, self._exit if self._draining else WatcherExit.LOST)

    def _fail_late_start(self) -> None:
        """Fail a start whose import or constructor exceeds its time, and report its stack."""
        frame = sys._current_frames().get(self._main)  # noqa: SLF001  documented despite its name
        if frame is None or self._life.state is not ReplicaState.STARTING:
            return
        detail = f"the handler was not ready within {self._settings.start_timeout:g} s"
        self._failed(StartTimeout(detail, tracebacks.author_stack(frame)))

    def _stuck(self, call: Call) -> None:
        """End the process, because only this stops a handler that ignores its deadline."""
        detail = (
            f"call {call.request.request_id}: the handler was still running"
            f" {self._settings.grace:g} s after its deadline"
        )
        logger.error("%s; the stacks of all threads:", detail)
        faulthandler.dump_traceback(all_threads=True)
        reason = "the replica ends because its handler is stuck"
        self._end_at_once(detail, reason, WatcherExit.STUCK)

    def _end_at_once(self, detail: str, reason: str, code: WatcherExit) -> None:
        self._dispatcher.end_all(NotReady(reason))
        self._life.exited(detail)
        # Give the replies time to leave. Then end without atexit handlers, which could block.
        self._loop.call_later(0.1, _end_now, code)


def _end_now(code: WatcherExit) -> None:
    sys.stderr.flush()
    os._exit(code)
