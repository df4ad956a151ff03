"""Serves the supervisor's socket. A client cannot disturb the supervisor or other clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path

from dcf.errors import RequestInvalid, SupervisorError
from dcf.supervision.log_reader import LogReader
from dcf.supervision.process_messages import List, Logs, Observe, Request, Shutdown, Start, Stop
from dcf.supervision.protocol import (
    END_LINE,
    REQUEST_LIMIT,
    error_line,
    item_line,
    log_line,
    members_of,
    read_request,
)
from dcf.supervision.supervisor import Supervisor

logger = logging.getLogger("dcf.supervision")

REQUEST_TIMEOUT = 10.0
"""Seconds that a client may take to send its request, a single line."""

FAREWELL_TIMEOUT = 5.0
"""Seconds that a client may take to read the last lines of a reply."""


class SupervisorServer:
    """Answers requests on a Unix socket that only this user may open."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Create a server, without listening.

        Args:
            supervisor: Carries out the requests.
        """
        self._supervisor = supervisor
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self, path: Path) -> AsyncGenerator[None, None]:
        """Listen during the block.

        Args:
            path: Path of the socket; an existing file is replaced.

        Raises:
            OSError: If the socket cannot be created.
        """
        server = await asyncio.start_unix_server(
            self._connected, sock=_private_socket(path), limit=REQUEST_LIMIT
        )
        try:
            yield
        finally:
            server.close()
            _remove(path)
            # Let replies finish, such as the reply to a shutdown.
            if self._clients:
                await asyncio.wait(self._clients, timeout=1.0)
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        except Exception:
            # A defect in one request must not affect the processes.
            logger.exception("a request failed because of a defect")
        finally:
            writer.close()
            try:
                async with asyncio.timeout(FAREWELL_TIMEOUT):
                    await writer.wait_closed()
            except (ConnectionError, TimeoutError):
                writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _request(reader)
            match request:
                case None:
                    return
                case Observe():
                    await _while_connected(_send(self._events(), writer), reader)
                case Logs():
                    await _while_connected(_send(self._lines(request), writer), reader)
                case _:
                    await _send(self._results(request), writer)
            writer.write(END_LINE)
        except SupervisorError as error:
            writer.write(error_line(error))

    async def _results(
        self, request: Start | Stop | List | Shutdown
    ) -> AsyncGenerator[bytes, None]:
        match request:
            case Start():
                status = await self._supervisor.start(request.process)
                yield item_line({"status": members_of(status)})
            case Stop():
                exit_ = await self._supervisor.stop(request.name, request.grace)
                if exit_ is not None:
                    yield item_line({"exit": members_of(exit_)})
            case List():
                for status in self._supervisor.statuses():
                    yield item_line({"status": members_of(status)})
            case Shutdown():
                await self._supervisor.shutdown(request.grace)

    async def _events(self) -> AsyncGenerator[bytes, None]:
        with self._supervisor.observers.subscribe() as events:
            statuses = self._supervisor.statuses()
            lines = b"".join(item_line({"status": members_of(status)}) for status in statuses)
            yield lines + item_line({"known": len(statuses)})
            while data := await events.take():
                yield data

    async def _lines(self, request: Logs) -> AsyncGenerator[bytes, None]:
        folder, followers = self._supervisor.log_of(request.name)
        with contextlib.ExitStack() as stack:
            backlog = stack.enter_context(LogReader(folder))
            subscription = None
            if request.follow and followers is not None:
                subscription = stack.enter_context(followers.subscribe())
            for lines in backlog.read(request.since, request.tail):
                yield b"".join(log_line(line) for line in lines)
                # Let the loop read the pipes of the processes.
                await asyncio.sleep(0)
            while subscription is not None and (data := await subscription.take()):
                yield data


async def _request(reader: asyncio.StreamReader) -> Request | None:
    """Read the client's request; return None if the client disconnects before its end.

    Raises:
        RequestInvalid: If it is not a request.
    """
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise RequestInvalid(
            f"expected a request of at most {REQUEST_LIMIT} bytes, got more"
        ) from error
    except TimeoutError as error:
        raise RequestInvalid(
            f"expected a request within {REQUEST_TIMEOUT:g} s, got none"
        ) from error
    return read_request(line)


async def _send(replies: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(replies):
        async for data in replies:
            writer.write(data)
            await writer.drain()


async def _while_connected(work: Coroutine[None, None, None], reader: asyncio.StreamReader) -> None:
    """Run ``work`` until the client disconnects."""
    working = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, disconnect):
            task.cancel()
        await asyncio.gather(working, disconnect, return_exceptions=True)


def _private_socket(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Created with its mode, so that other users can never open it.
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
