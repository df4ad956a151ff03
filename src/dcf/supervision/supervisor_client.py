"""A client of the supervisor: one method for each request, one connection for each call."""

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
    """Where the supervisor with this state folder listens, unless told otherwise."""
    return state / "supervisor.sock"


class SupervisorClient:
    """Asks one supervisor. Every method raises SupervisorUnreachable when it is not there.

    Streams are to be closed: ``async with contextlib.aclosing(client.observe()) as events``.

    Attributes:
        path: The socket of the supervisor. It identifies the supervisor.
    """

    def __init__(self, socket: Path, timeout: float = 10.0) -> None:
        """A client; nothing is connected yet.

        Args:
            socket: Where the supervisor listens.
            timeout: Seconds that it may take to answer, beside the time that a request names.
        """
        self.path = socket
        self._timeout = timeout

    async def start(self, process: ProcessSpec) -> ProcessStatus:
        """Starts a process; nothing happens when one of that name is known, in whatever state.

        Raises:
            ProcessNotStarted: When the program cannot be started.
        """
        items = await self._ask(Start(process), self._timeout)
        return status_of(items[0].get("status") if items else None)

    async def stop(self, name: str, grace: float) -> ExitRecord | None:
        """Ends a process and forgets it; nothing happens when the name is not known.

        Args:
            name: Which.
            grace: Seconds between asking it to end and killing it.

        Returns:
            How its latest run ended.
        """
        items = await self._ask(Stop(name, grace), grace + self._timeout)
        return exit_of(items[0].get("exit")) if items else None

    async def list(self) -> tuple[ProcessStatus, ...]:
        """Every process."""
        items = await self._ask(List(), self._timeout)
        return tuple(status_of(item.get("status")) for item in items)

    async def observe(self) -> AsyncGenerator[tuple[ProcessStatus, ...] | ProcessEvent, None]:
        """First the statuses of all processes, at once, then everything that happens to them.

        Nothing in between is missed. It ends when the supervisor has shut down.

        Raises:
            ObserverTooSlow: When events were read too slowly.
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
        """What a process printed, over all its runs.

        Args:
            name: Which; also one that was stopped, as long as its log is kept.
            since: Lines from this time on, in seconds since 1970.
            tail: At most this many of the lines that are there; None is all.
            follow: Whether to go on with what it prints until it has ended.

        Raises:
            ProcessUnknown: When there is no such log.
            ObserverTooSlow: When lines were read too slowly.
        """
        async with contextlib.aclosing(self._reply(Logs(name, since, tail, follow))) as items:
            async for item in items:
                yield log_line_of(item)

    async def shutdown(self, grace: float) -> None:
        """Ends every process, then the supervisor, and waits for it.

        Args:
            grace: Seconds that each stage has.
        """
        # How many stages there are is not known here.
        await self._ask(Shutdown(grace), None)

    async def _ask(self, request: Request, within: float | None) -> tuple[dict[str, Any], ...]:
        try:
            async with asyncio.timeout(within), contextlib.aclosing(self._reply(request)) as items:
                return tuple([item async for item in items])
        except TimeoutError as error:
            raise SupervisorUnreachable(f"no answer within {within:g} s") from error

    async def _reply(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=REPLY_LIMIT)
        except OSError as error:
            raise SupervisorUnreachable(f"nobody listens at {self.path}: {error}") from error
        try:
            writer.write(request_line(request))
            await writer.drain()
            while (item := read_reply(await reader.readuntil(b"\n"))) is not None:
                yield item
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise SupervisorUnreachable("the supervisor's reply broke off") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
