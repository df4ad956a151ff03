"""A client of one watcher, over a Unix socket or TCP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dcf.client import address
from dcf.client.network import reason_of
from dcf.client.operation import Operation, framing
from dcf.client.payload import Part, check_messages
from dcf.client.response import Response
from dcf.client.sync_network import SyncNetwork, run
from dcf.client.timeout import Timeout
from dcf.client.transport import Transport
from dcf.errors import GatewayUnreachable, ReplicaLost

if TYPE_CHECKING:
    from dcf.client.sync_stream import OnError, Stream


class WatcherClient:
    """Calls the function behind one endpoint. Each call has a connection of its own."""

    def __init__(self, endpoint: str, timeout: float) -> None:
        """Create a client. It connects with each call.

        Args:
            endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``, as a watcher reports it.
            timeout: Maximum seconds without a byte from the watcher.
        """
        self._address = address.of_endpoint(endpoint)
        self._timeout = timeout
        self._transport = Transport(SyncNetwork(), self._address, timeout, max_idle=0)

    def call(
        self,
        body: bytes | Iterable[bytes],
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Call the function.

        Args:
            body: The request's body. An iterator is sent in chunks.
            method: The HTTP method.
            path: Path and query.
            headers: Additional headers.

        Raises:
            CallError: When the watcher replies with an error; as its own class.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When no byte arrived in time.
        """
        length = len(body) if isinstance(body, bytes) else None
        sent = self._headers(headers) | dict(framing(length))
        operation = Operation(method, path, bytes, body, (*sent.items(),), is_call=True)
        try:
            return Response.blocking(run(self._transport.open(operation)))
        except GatewayUnreachable as error:
            raise _lost(error) from error

    def stream(
        self,
        messages: Iterable[Part],
        *,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        on_error: OnError | None = None,
    ) -> Stream:
        """Stream messages to the function, as ``Client.stream`` does.

        Args:
            messages: The handler's input.
            path: Path and query.
            headers: Additional headers.
            on_error: Called with the error of a single message, instead of raising it.

        Raises:
            CallError: When the watcher replies with an error; as its own class.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When no byte arrived in time.
        """
        # Imported here: the WebSocket library takes a while to import.
        from dcf.client.sync_stream import Stream  # noqa: PLC0415
        from dcf.client.sync_websocket import SyncWebSocket  # noqa: PLC0415

        check_messages(messages)
        timeout = Timeout(silence=self._timeout)
        sent = self._headers(headers)
        try:
            connection = SyncWebSocket(self._address, path, sent.items(), timeout)
        except TimeoutError:
            raise timeout.error() from None
        except GatewayUnreachable as error:
            raise _lost(error) from error
        return Stream(connection, messages, timeout, on_error)

    def _headers(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        given = {name.lower(): value for name, value in (headers or {}).items()}
        return {"host": self._address.authority} | given


def _lost(error: GatewayUnreachable) -> ReplicaLost:
    reason = error.__cause__
    text = reason_of(reason) if isinstance(reason, OSError) else str(error)
    return ReplicaLost(f"cannot connect to the replica: {text}")
