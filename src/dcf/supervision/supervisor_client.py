"""The supervisor's client. Each method sends one request, on its own connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from dcf.errors import SupervisorUnreachable
from dcf.model.log import LogLine
from dcf.supervision.process_messages import (
    ExitRecord,
    List,
    Logs,
    Observe,
    ProcessEvent,
    ProcessSpec,
    ProcessStatus,
    Request,
    Shutdown,
    Start,
    Stop,
)
from dcf.supervision.protocol import (
    REPLY_LIMIT,
    event_of,
    exit_of,
    log_line_of,
    read_reply,
    request_line,
    status_of,
)


def socket_of(state: Path) -> Path:
    """Return the default socket of the supervisor with a state folder."""
    return state / "supervisor.sock"


class SupervisorClient:
    """A client of one supervisor. Every method raises SupervisorUnreachable if it does not answer.

    Close the streams: ``async with contextlib.aclosing(client.observe()) as events``.

    Attributes:
        path: Path of the supervisor's socket. It identifies the supervisor.
    """

    def __init__(self, socket: Path, timeout: float = 10.0) -> None:
        """Create a client, without connecting.

        Args:
            socket: Path of the supervisor's socket.
            timeout: Seconds to wait for an answer, in addition to the time that a request takes.
        """
        self.path = socket
        self._timeout = timeout

    async def start(self, process: ProcessSpec) -> ProcessStatus:
        """Start a process. If the name is known, in any state, do nothing.

        Raises:
            ProcessNotStarted: If the program cannot be started.
        """
        items = await self._ask(Start(process), self._timeout)
        return status_of(items[0].get("status") if items else None)

    async def stop(self, name: str, grace: float) -> ExitRecord | None:
        """Stop a process and free its name. If the name is unknown, do nothing.

        Args:
            name: The process.
            grace: Seconds from SIGTERM to SIGKILL.

        Returns:
            How its latest run ended.
        """
        items = await self._ask(Stop(name, grace), grace + self._timeout)
        return exit_of(items[0].get("exit")) if items else None

    async def list(self) -> tuple[ProcessStatus, ...]:
        """Return the statuses of all processes."""
        items = await self._ask(List(), self._timeout)
        return tuple(status_of(item.get("status")) for item in items)

    async def observe(self) -> AsyncGenerator[tuple[ProcessStatus, ...] | ProcessEvent, None]:
        """Yield the statuses of all processes as one item, then all their events.

        No event is missed in between. The stream ends when the supervisor has shut down.

        Raises:
            ObserverTooSlow: If the caller reads events too slowly.
        """
        known: tuple[ProcessStatus, ...] = ()
        async with contextlib.aclosing(self._reply(Observe())) as items:
            async for item in items:
                if "status" in item:
                    known = (*known, status_of(item["status"]))
                elif "event" in item:
                    yield event_of(item["event"])
                else:
                    yield known

    async def logs(
        self, name: str, *, since: float = 0.0, tail: int | None = None, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """Yield the log of all runs of a process.

        Args:
            name: The process. Its log is kept for a time after it was stopped.
            since: Start of the lines to read, in seconds since 1970.
            tail: Maximum number of existing lines: the last ones. None reads all.
            follow: Whether to continue with new lines until the process has ended.

        Raises:
            ProcessUnknown: If the log does not exist.
            ObserverTooSlow: If the caller reads lines too slowly.
        """
        async with contextlib.aclosing(self._reply(Logs(name, since, tail, follow))) as items:
            async for item in items:
                yield log_line_of(item)

    async def shutdown(self, grace: float) -> None:
        """Shut down all processes and the supervisor, and wait until they have ended.

        Args:
            grace: Seconds for each stage.
        """
        # The client does not know the number of stages, so it sets no timeout.
        await self._ask(Shutdown(grace), None)

    async def _ask(self, request: Request, within: float | None) -> tuple[dict[str, Any], ...]:
        try:
            async with asyncio.timeout(within), contextlib.aclosing(self._reply(request)) as items:
                return tuple([item async for item in items])
        except TimeoutError as error:
            raise SupervisorUnreachable(
                f"expected an answer at {self.path} within {within:g} s, got none"
            ) from error

    async def _reply(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=REPLY_LIMIT)
        except OSError as error:
            raise SupervisorUnreachable(
                f"expected a supervisor at {self.path}, got no connection: {error}"
            ) from error
        try:
            writer.write(request_line(request))
            await writer.drain()
            while (item := read_reply(await reader.readuntil(b"\n"))) is not None:
                yield item
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise SupervisorUnreachable("expected a complete reply, got a part of it") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
