"""One replica's process: the server's loop in the main thread, the handler in its own."""

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
from typing import Any

from dcf.errors import HandlerInitFailed, NotReady, StartError, StartTimeout
from dcf.model.replica import ReplicaState
from dcf.protocol.exits import WatcherExit
from dcf.settings import WatcherSettings
from dcf.watcher import loading, tracebacks
from dcf.watcher.app import App
from dcf.watcher.call import Call
from dcf.watcher.direct import DirectProtocol
from dcf.watcher.lanes import HANDLER_THREAD, Lane, LoopLane, ThreadLane
from dcf.watcher.life import Life
from dcf.watcher.mailbox import Mailbox
from dcf.watcher.server import Server, endpoint

logger = logging.getLogger("dcf.watcher")

LINGER = 0.2
"""Seconds in which a call may still come after the drain began. A connection is made by the kernel
before it is accepted here, and before its first byte is here; closing it then would lose a call."""

PLAIN_CONCURRENCY = 1
ASYNC_CONCURRENCY = 1000
"""Calls at a time where the author set none: ``WatcherSettings.concurrency`` says why."""


class Host:
    """Joins loop, server and handler thread, and decides how the process ends."""

    def __init__(self, settings: WatcherSettings, life: Life) -> None:
        """A host at rest.

        Args:
            settings: What to serve, and where.
            life: The replica's state.
        """
        self._settings = settings
        self._life = life
        self._exit = WatcherExit.DRAINED

    async def run(self, listener: socket.socket) -> WatcherExit:
        """Serves on ``listener`` until told to end.

        Returns:
            How the process is to end.
        """
        self._loop = asyncio.get_running_loop()
        self._app = App(self._settings, self._life, self._loop, self._stuck)
        self._desk = self._app.desk
        self._answered = Mailbox[Call](self._loop, self._desk.answered)
        self._opened = asyncio.Event()
        self._accepting = asyncio.Event()
        self._server = Server(
            self._app,
            partial(DirectProtocol, app=self._app),
            drain=self._settings.drain,
            on_started=self._accepting.set,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.drain)
        thread = threading.Thread(
            target=self._handler_thread, name=f"{HANDLER_THREAD}1", daemon=True
        )
        thread.start()
        limit = self._settings.start_timeout
        self._starting = self._loop.call_later(limit, self._too_late, thread)
        if self._settings.listen.startswith("fd:"):
            # The socket is shared with the replica that this one replaces: calls go there until
            # this one can take them.
            await self._opened.wait()
        ready = asyncio.create_task(self._tell_when_ready(endpoint(listener)))
        if not self._server.should_exit:
            await self._server.serve(sockets=[listener])
        ready.cancel()
        if self._desk.lane is not None:
            self._desk.lane.close()
            await asyncio.to_thread(thread.join, 1.0)
        return self._exit

    def drain(self) -> None:
        """Ends the process after the calls in flight.

        In this order: say so, let connections that were just made send their call, then accept no
        more, close those that are idle and wait for the others. A socket that is handed down is
        left to whoever shares it, at once.
        """
        if self._settings.listen.startswith("fd:"):
            self._server.stop_accepting()
        self._desk.closing = True
        self._life.draining()
        self._desk.hand_back("the replica drains")
        self._opened.set()
        linger = LINGER if self._server.server_state.connections else 0.0
        self._loop.call_later(linger, self._server.finish)
        reason = NotReady("the replica ended before the call was done")
        self._loop.call_later(self._settings.drain, self._desk.end_all, reason)

    async def _tell_when_ready(self, address: str) -> None:
        await self._opened.wait()
        await self._accepting.wait()
        self._life.ready(address)

    def _handler_thread(self) -> None:
        """Imports, constructs and calls the handler: all in this one thread."""
        settings = self._settings
        if settings.origin:
            tracebacks.name_files_as(str(Path(settings.root).resolve()), settings.origin)
        try:
            folder = loading.enter(Path(settings.root), settings.handler_dir)
            target = loading.import_handler(folder, settings.handler_file, settings.handler_name)
            if loading.is_async(target):
                asyncio.run(self._serve_async(target))
                return
            handler = loading.construct(target)
            lane = ThreadLane(
                self._answered.post,
                self._loop,
                settings.concurrency or PLAIN_CONCURRENCY,
                generator=loading.is_generator(target),
            )
        except StartError as error:
            self._on_loop(self._failed, error)
            return
        except BaseException as error:
            # Whatever else the author's objects do when they are looked at: nobody is to wait.
            message = f"the handler cannot be started: {tracebacks.summary(error)}"
            trace = tracebacks.author_traceback(error)
            self._on_loop(self._failed, HandlerInitFailed(message, trace))
            return
        self._on_loop(self._open, lane)
        lane.run(handler)

    async def _serve_async(self, target: Any) -> None:
        handler = loading.construct(target)
        lane = LoopLane(
            self._answered.post,
            self._loop,
            self._settings.concurrency or ASYNC_CONCURRENCY,
            generator=loading.is_generator(target),
        )
        self._on_loop(self._open, lane)
        await lane.run(handler)

    def _on_loop(self, act: Callable[[Any], None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, value)
        except RuntimeError:
            logger.debug("the server ended before the handler was ready")

    def _open(self, lane: Lane) -> None:
        if self._life.state is ReplicaState.STARTING:
            self._starting.cancel()
            self._desk.open(lane)
            self._opened.set()
        else:
            lane.close()

    def _failed(self, error: StartError) -> None:
        if self._settings.log_failure:
            logger.error("%s", f"{error}\n{error.traceback}".rstrip())
        self._life.failed(error)
        self._exit = WatcherExit.HANDLER
        self._opened.set()
        self._server.finish()

    def _too_late(self, thread: threading.Thread) -> None:
        """Import or constructor take longer than they may: tells where they are, and ends."""
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  documented in spite of its name
        if frame is None or self._life.state is not ReplicaState.STARTING:
            return
        detail = f"the handler was not ready within {self._settings.start_timeout:g} s"
        self._failed(StartTimeout(detail, tracebacks.author_stack(frame)))

    def _stuck(self, call: Call) -> None:
        """The handler goes on past deadline and grace: only the end of the process stops it."""
        detail = (
            f"call {call.request.request_id}: the handler went on more than"
            f" {self._settings.grace:g} s past its deadline"
        )
        logger.error("%s; this is where it is:", detail)
        faulthandler.dump_traceback(all_threads=True)
        self._desk.end_all(NotReady("the replica is ended because its handler is stuck"))
        self._life.exited(detail)
        # A moment for the answers to leave; then no atexit handler may keep the process alive.
        self._loop.call_later(0.1, _end_now, WatcherExit.STUCK)


def _end_now(code: WatcherExit) -> None:
    sys.stderr.flush()
    os._exit(code)
