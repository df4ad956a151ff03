"""``python -m dcf.bridge``: the composition root of the bridge's process.

The supervisor of a gateway starts it. It stores nothing: after a kill at any time the supervisor
restarts it, and only the open streams are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from dcf.bridge.envoy_connection import EnvoyConnection
from dcf.bridge.grpc_call import Caller, GrpcCall
from dcf.client import address
from dcf.errors import AddressInUse, DcfError, NotReady
from dcf.settings import BridgeSettings
from dcf.supervision.liveness import alive_socket, answering
from dcf.telemetry import logging_setup

logger = logging.getLogger("dcf.bridge")

BACKLOG = 1024
"""Maximum number of connections that wait to be accepted."""
FLUSH = 1.0
"""Seconds to send the last statuses."""


def main() -> int:
    """Run the bridge until SIGTERM, or until the supervisor ends.

    Returns:
        0 after a shutdown, 1 if the bridge could not start.
    """
    try:
        settings = BridgeSettings.from_mapping(os.environ)
        logging_setup.configure(settings.log_level)
        faulthandler.enable()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Bridge(settings).run(_listening(Path(settings.listen))))
    except (DcfError, OSError) as error:
        logger.critical("the bridge ends: %s", error)
        return 1
    return 0


class Bridge:
    """All connections of the bridge."""

    def __init__(self, settings: BridgeSettings) -> None:
        """Create a bridge, without starting it.

        Args:
            settings: The bridge's settings.
        """
        self._settings = settings
        self._gateway = address.parse(f"unix:{settings.gateway}")
        self._connections: set[EnvoyConnection] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serve until a shutdown is requested, then give open streams time to finish.

        Args:
            listener: The socket that Envoy connects to.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: EnvoyConnection(self._begin, self._connections, self._settings.idle),
            sock=listener,
        )
        logger.info("forwarding streams to %s", self._gateway.url)
        async with _shutdown_signals() as shutdown:
            async with answering(alive_socket(Path(self._settings.listen)), _works):
                await shutdown.requested.wait()
            server.close()
            self._close_idle()
            waits = [
                asyncio.create_task(wait) for wait in (self._drained(), shutdown.orphaned.wait())
            ]
            await asyncio.wait(
                waits, timeout=self._settings.drain, return_when=asyncio.FIRST_COMPLETED
            )
            for wait in waits:
                wait.cancel()
            await self._end()

    def _begin(self, client: Caller, metadata: Mapping[str, str]) -> GrpcCall:
        settings = self._settings
        return GrpcCall(client, metadata, self._gateway, settings.max_message, settings.idle)

    def _calls(self) -> list[GrpcCall]:
        calls = (connection.call for connection in self._connections)
        return [call for call in calls if call is not None]

    def _close_idle(self) -> None:
        for connection in list(self._connections):
            if connection.call is None:
                connection.close()

    async def _drained(self) -> None:
        while calls := self._calls():
            await calls[0].done.wait()

    async def _end(self) -> None:
        for call in self._calls():
            call.failed(NotReady("the gateway is shutting down"))
        for connection in list(self._connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                for connection in list(self._connections):
                    await connection.lost.wait()


async def _works() -> None:
    """Return at once: answering at all shows that the loop works."""


def _listening(path: Path) -> socket.socket:
    """Create the socket. It replaces the socket of a killed bridge.

    Raises:
        AddressInUse: If it cannot be created.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressInUse(f"cannot listen on {path}: {error}") from error
    return listener


@dataclass(frozen=True, slots=True)
class _Shutdown:
    """The events that shut the bridge down.

    Attributes:
        requested: Set when the bridge must end.
        orphaned: Set when the supervisor has ended.
    """

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    orphaned: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def _shutdown_signals() -> AsyncIterator[_Shutdown]:
    """Watch for SIGTERM, SIGINT, and the end of standard input, which the supervisor holds open."""
    shutdown = _Shutdown()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.requested.set)

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            shutdown.requested.set()
            shutdown.orphaned.set()

    loop.add_reader(0, read)
    try:
        yield shutdown
    finally:
        loop.remove_reader(0)


if __name__ == "__main__":
    sys.exit(main())
