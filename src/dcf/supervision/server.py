"""The supervisor's socket: requests in, replies out. No client can disturb it or another one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path

from dcf.errors import RequestInvalid, SupervisorError
from dcf.net.listeners import listen_unix
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
"""Seconds that a client may take for its request, a single line."""

FAREWELL_TIMEOUT = 5.0
"""Seconds that a client may take to read the last lines of a reply."""


class SupervisorServer:
    """Answers on a Unix socket that only this user may open."""

    def __init__(self, supervisor: Supervisor) -> None:
        """A server that does not listen yet.

        Args:
            supervisor: Does what is asked.
        """
        self._supervisor = supervisor
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self, path: Path) -> AsyncGenerator[None, None]:
        """Listens for as long as the context is open.

        Args:
            path: The socket's; what lies there is replaced.

        Raises:
            AddressInUse: If the socket cannot be opened.
        """
        server = await asyncio.start_unix_server(
            self._connected, sock=listen_unix(path), limit=REQUEST_LIMIT
        )
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name, in memory
            # Replies that are on their way out, such as that to a shutdown.
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
            # Whatever is wrong with one request, the processes go on.
            logger.exception("a request failed")
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
            now = self._supervisor.statuses()
            known = b"".join(item_line({"status": members_of(status)}) for status in now)
            yield known + item_line({"known": len(now)})
            while data := await events.take():
                yield data

    async def _lines(self, request: Logs) -> AsyncGenerator[bytes, None]:
        folder, followers = self._supervisor.log_of(request.name)
        with contextlib.ExitStack() as held:
            backlog = held.enter_context(LogReader(folder))
            news = None
            if request.follow and followers is not None:
                news = held.enter_context(followers.subscribe())
            for lines in backlog.read(request.since, request.tail):
                yield b"".join(log_line(line) for line in lines)
                # The processes' own pipes are not kept waiting.
                await asyncio.sleep(0)
            while news is not None and (data := await news.take()):
                yield data


async def _request(reader: asyncio.StreamReader) -> Request | None:
    """The client's request; None when it went away before it had said all.

    Raises:
        RequestInvalid: When it said something else.
    """
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise RequestInvalid(f"the request has more than {REQUEST_LIMIT} bytes") from error
    except TimeoutError as error:
        raise RequestInvalid(f"no request within {REQUEST_TIMEOUT:g} s") from error
    return read_request(line)


async def _send(replies: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(replies):
        async for data in replies:
            writer.write(data)
            await writer.drain()


async def _while_connected(work: Coroutine[None, None, None], reader: asyncio.StreamReader) -> None:
    """Does ``work`` until the client hangs up."""
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for each in (working, hanging_up):
            each.cancel()
        await asyncio.gather(working, hanging_up, return_exceptions=True)
