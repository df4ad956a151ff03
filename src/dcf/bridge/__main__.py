"""``python -m dcf.bridge``: the composition root of the bridge's process.

The supervisor of a gateway starts it. It keeps nothing: killed at any instant, it is started again,
and only the streams that it had are lost.
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
from dcf.errors import DcfError, NotReady
from dcf.model.endpoint import Endpoint
from dcf.net.listeners import listen_unix
from dcf.net.parent import watch_parent
from dcf.settings import BridgeSettings
from dcf.supervision.liveness import alive_socket, answering
from dcf.telemetry import logging_setup

logger = logging.getLogger("dcf.bridge")

BACKLOG = 1024
"""Connections that may wait to be accepted."""
FLUSH = 1.0
"""Seconds that the last statuses may take to be sent."""


def main() -> int:
    """Runs the bridge until SIGTERM, or until the supervisor is gone.

    Returns:
        0 when it was asked to end, 1 when it could not begin.
    """
    try:
        settings = BridgeSettings.from_mapping(os.environ)
        logging_setup.configure(settings.log_level)
        faulthandler.enable()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Bridge(settings).run(listen_unix(Path(settings.listen), BACKLOG)))
    except DcfError as error:
        logger.critical("the bridge cannot go on: %s", error)
        return 1
    return 0


class Bridge:
    """All connections, from the first to the last."""

    def __init__(self, settings: BridgeSettings) -> None:
        """Nothing runs yet.

        Args:
            settings: How to behave.
        """
        self._settings = settings
        self._gateway = address.parse(str(Endpoint(path=settings.gateway)))
        self._connections: set[EnvoyConnection] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serves until it is asked to end; streams under way have their time then.

        Args:
            listener: Where Envoy connects.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: EnvoyConnection(self._begin, self._connections, self._settings.idle),
            sock=listener,
        )
        logger.info("passing streams on to %s", self._gateway.url)
        async with _hearing() as heard:
            async with answering(alive_socket(Path(self._settings.listen)), _works):
                await heard.asked.wait()
            server.close()
            self._close_idle()
            ends = [asyncio.create_task(end) for end in (self._drained(), heard.orphaned.wait())]
            await asyncio.wait(
                ends, timeout=self._settings.drain, return_when=asyncio.FIRST_COMPLETED
            )
            for end in ends:
                end.cancel()
            await self._end()

    def _begin(self, client: Caller, metadata: Mapping[str, str]) -> GrpcCall:
        settings = self._settings
        return GrpcCall(client, metadata, self._gateway, settings.max_message, settings.idle)

    def _calls(self) -> list[GrpcCall]:
        return [one.call for one in self._connections if one.call is not None]

    def _close_idle(self) -> None:
        for connection in list(self._connections):
            if connection.call is None:
                connection.close()

    async def _drained(self) -> None:
        while calls := self._calls():
            await calls[0].done.wait()

    async def _end(self) -> None:
        for call in self._calls():
            call.failed(NotReady("the gateway ends"))
        for connection in list(self._connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                for connection in list(self._connections):
                    await connection.lost.wait()


async def _works() -> None:
    """Return at once: answering at all shows that the loop works."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What this process was told.

    Attributes:
        asked: To end.
        orphaned: That the supervisor is gone.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    orphaned: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def _hearing() -> AsyncIterator[_Heard]:
    """Hears SIGTERM, SIGINT, and the end of standard input: the supervisor is gone then."""
    heard = _Heard()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard.asked.set)

    def orphaned() -> None:
        heard.asked.set()
        heard.orphaned.set()

    with watch_parent(orphaned):
        yield heard


if __name__ == "__main__":
    sys.exit(main())
