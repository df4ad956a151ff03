"""A client of one watcher, over a Unix socket or TCP."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from dcf.client.address import parse
from dcf.client.answer import Answer
from dcf.client.exchange import Patience
from dcf.client.payload import Part, check_messages
from dcf.errors import DeadlineExceeded, GatewayUnreachable, ReplicaLost
from dcf.model.endpoint import Endpoint
from dcf.protocol.http import PROBLEM
from dcf.protocol.problem import from_problem

if TYPE_CHECKING:
    from dcf.client.stream import OnError, Stream

CHUNK = 256 * 1024
"""Bytes read at a time."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class WatcherClient:
    """Calls the function behind one endpoint."""

    def __init__(self, endpoint: str, timeout: float) -> None:
        """A client without a connection.

        Args:
            endpoint: ``unix:PATH`` or ``tcp:HOST:PORT``, as a watcher reports it.
            timeout: Seconds without a single byte from the watcher after which it is given up.
        """
        self._endpoint = endpoint
        self._timeout = timeout

    def call(
        self,
        body: bytes,
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Calls the function.

        Args:
            body: The request's body.
            method: The HTTP method.
            path: Path and query.
            headers: Further headers.

        Raises:
            CallError: The error that the watcher answered with, in its own class.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When nothing came in time.
        """
        connection = self._connection()
        try:
            # Refused before the body was sent whole: the answer says why, if there is one.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise DeadlineExceeded(f"no reply within {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ReplicaLost(f"the connection to the replica broke: {error}") from error
        given = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, given, self._chunks(connection, response))
        if given.get("content-type") == PROBLEM:
            raise from_problem(response.status, answer.read())
        return answer

    def stream(
        self,
        messages: Iterable[Part],
        *,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        on_error: OnError | None = None,
    ) -> Stream:
        """Streams messages to the function, as ``Client.stream`` does.

        Args:
            messages: What it gets.
            path: Path and query.
            headers: Further headers.
            on_error: Is told the error of one message, instead of ``next`` raising it.

        Raises:
            CallError: The error that the watcher answered with, in its own class.
            ReplicaLost: When the connection broke.
            DeadlineExceeded: When nothing came in time.
        """
        from dcf.client.stream import Stream  # noqa: PLC0415  WebSockets take a while to import
        from dcf.client.stream_socket import StreamSocket  # noqa: PLC0415  likewise

        check_messages(messages)
        address = parse(self._endpoint.removeprefix("tcp:"))
        patience = Patience(silence=self._timeout)
        given = (("host", address.authority), *(headers or {}).items())
        try:
            connection = StreamSocket(address, path, given, patience)
        except TimeoutError:
            raise patience.spent() from None
        except GatewayUnreachable as error:
            raise ReplicaLost(f"the connection to the replica broke: {error}") from error
        return Stream(connection, messages, patience, on_error)

    def _connection(self) -> http.client.HTTPConnection:
        endpoint = Endpoint.parse(self._endpoint)
        if endpoint.is_unix:
            return _UnixConnection(endpoint.path, self._timeout)
        return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=self._timeout)

    def _chunks(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        try:
            while chunk := response.read1(CHUNK):
                yield chunk
            if response.length:
                raise ReplicaLost("the reply broke off")
        except TimeoutError as error:
            raise DeadlineExceeded(f"the reply stopped for {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ReplicaLost(f"the reply broke off: {error}") from error
        finally:
            response.close()
            connection.close()
