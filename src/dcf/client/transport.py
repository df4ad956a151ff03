"""Sends operations to one address: connections, retries, errors. For both faces of the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dcf.client.address import Address
from dcf.client.http11 import Head
from dcf.client.network import Network, unreachable
from dcf.client.operation import Operation
from dcf.client.pool import MAX_IDLE, ConnectionPool, HttpConnection
from dcf.client.response import AsyncResponse
from dcf.client.timeout import Timeout
from dcf.errors import AnswerInvalid

Result = TypeVar("Result")
Headers = tuple[tuple[str, str], ...]


class Transport:
    """Sends operations to one address. On a blocking network, threads may share it.

    Attributes:
        network: The network.
        address: The address.
    """

    def __init__(
        self,
        network: Network,
        address: Address,
        timeout: float,
        *,
        headers: Callable[[], Headers] = tuple,
        max_idle: int = MAX_IDLE,
    ) -> None:
        """Create a transport. It connects on first use.

        Args:
            network: The network.
            address: Where to connect.
            timeout: Maximum seconds without a byte, for operations that set no limit.
            headers: Returns the headers of every request. It may raise AccessDenied.
            max_idle: Maximum connections that are kept open between requests.
        """
        self.network = network
        self.address = address
        self._timeout = timeout
        self._headers = headers
        self._pool = ConnectionPool(max_idle)

    async def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()
        # asyncio closes an aborted connection in the loop's next iteration.
        await self.network.sleep(0)

    def headers(self, operation: Operation[Result]) -> Headers:
        """Return all headers of an operation's request."""
        return (*self._headers(), *operation.headers)

    def timeout(self, operation: Operation[Result]) -> Timeout:
        """Start the clock for an operation."""
        silence = self._timeout if operation.silence is None else operation.silence
        return Timeout(total=operation.total, silence=silence)

    async def send(self, operation: Operation[Result]) -> Result:
        """Send an operation and return its result.

        Raises:
            DcfError: When it fails.
        """
        async with await self.open(operation) as response:
            return operation.result(Head(response.status, response.headers), await response.read())

    async def open(self, operation: Operation[Result]) -> AsyncResponse:
        """Send an operation and return its reply, which must be read to its end or closed.

        Raises:
            DcfError: When it fails.
        """
        timeout = self.timeout(operation)
        connection, head = await self._request(operation, timeout)
        chunks = _Chunks(operation, connection, self._pool, timeout)
        response = AsyncResponse(head.status, head.headers, chunks, chunks.aclose)
        if operation.is_error(head):
            async with response:
                raise operation.error(head, await response.read())
        return response

    async def _request(
        self, operation: Operation[Result], timeout: Timeout
    ) -> tuple[HttpConnection, Head]:
        headers = self.headers(operation)
        method, target, body = operation.method, operation.target, operation.body
        while True:
            connection = self._pool.pop() or await self._connect(timeout)
            try:
                return connection, await connection.request(method, target, headers, body, timeout)
            except TimeoutError:
                connection.close()
                raise timeout.error() from None
            except OSError as error:
                connection.close()
                # The gateway may have closed an idle connection just now.
                was_closed = connection.used and not connection.begun
                if not (was_closed and operation.may_repeat(sent=connection.sent)):
                    raise operation.broken(error) from error
            except BaseException:
                connection.close()
                raise

    async def _connect(self, timeout: Timeout) -> HttpConnection:
        try:
            return await HttpConnection.open(self.network, self.address, timeout)
        except OSError as error:
            raise unreachable(self.address, error) from error


class _Chunks:
    """The body of one reply. When it is read or closed, its connection goes back to the pool."""

    def __init__(
        self,
        operation: Operation[Result],
        connection: HttpConnection,
        pool: ConnectionPool,
        timeout: Timeout,
    ) -> None:
        self._operation = operation
        self._connection: HttpConnection | None = connection
        self._pool = pool
        self._timeout = timeout

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        try:
            chunk = await self._connection.read(self._timeout)
        except TimeoutError:
            await self.aclose()
            raise self._timeout.error() from None
        except OSError as error:
            await self.aclose()
            raise self._operation.broken(error) from error
        except AnswerInvalid:
            await self.aclose()
            raise
        if not chunk:
            await self.aclose()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Return the connection. The pool closes it unless the reply was read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.put(connection)
