"""Sends operations to a gateway over asyncio's connections: ``transport.py``, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dcf.client.address import Access
from dcf.client.async_connection import AsyncConnection
from dcf.client.connection import MOST_IDLE
from dcf.client.deploy_workflow import Pause, Step, Workflow
from dcf.client.http11 import Head, Timeout
from dcf.client.operation import Operation
from dcf.client.response import AsyncResponse, async_lines_of
from dcf.errors import AnswerInvalid, DcfError
from dcf.model.status import FunctionStatus

if TYPE_CHECKING:
    from dcf.client.async_websocket import AsyncWebSocket

Result = TypeVar("Result")


class AsyncTransport:
    """The way to one gateway, for one event loop."""

    def __init__(self, access: Access, timeout: float) -> None:
        """A way that nobody has gone yet.

        Args:
            access: Where the gateway is, and the token.
            timeout: Seconds without a byte, for an operation that says nothing itself.
        """
        self._access = access
        self._timeout = timeout
        self._idle: list[AsyncConnection] = []

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._access.address.url

    async def close(self) -> None:
        """Closes the connections that are idle."""
        while self._idle:
            self._idle.pop().close()
        # A transport that is aborted ends in the loop's next round.
        await asyncio.sleep(0)

    async def do(self, operation: Operation[Result]) -> Result:
        """Sends an operation and reads its whole reply.

        Raises:
            DcfError: What went wrong.
        """
        async with await self.open(operation) as answer:
            return operation.result(Head(answer.status, answer.headers), await answer.read())

    async def open(self, operation: Operation[Result]) -> AsyncResponse:
        """Sends an operation; its reply is still to be read, or to be closed.

        Raises:
            DcfError: What went wrong.
        """
        timeout = operation.timeout(self._timeout)
        connection, head = await self._ask(operation, timeout)
        reply = _Reply(operation, connection, self._give, timeout)
        answer = AsyncResponse(head.status, head.headers, reply, reply.close)
        if operation.is_refused(head):
            async with answer:
                raise operation.refusal(head, await answer.read())
        return answer

    async def begin(self, operation: Operation[bytes], timeout: Timeout) -> AsyncWebSocket:
        """Begins a stream.

        Raises:
            DcfError: What went wrong.
        """
        from dcf.client.async_websocket import (  # noqa: PLC0415  WebSockets take a while to import
            AsyncWebSocket,
        )

        headers = (*self._access.headers(), *operation.headers)
        return await AsyncWebSocket.open(self._access.address, operation.target, headers, timeout)

    async def follow(self, course: Workflow) -> FunctionStatus:
        """Takes the steps of a deploy.

        Raises:
            DcfError: What went wrong.
        """
        step = next(course)
        try:
            while True:
                try:
                    result = await self._take(step)
                except DcfError as error:
                    step = course.throw(error)
                else:
                    step = course.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is untyped
        finally:
            course.close()

    async def _take(self, step: Step) -> object:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Operation):
            return await self.do(step)
        async with await self.open(step.operation) as answer:
            async for line in async_lines_of(answer.chunks):
                if (last := step.take(line)) is not None:
                    return last
        raise step.operation.broken("the reply ended too early")

    async def _ask(
        self, operation: Operation[Result], timeout: Timeout
    ) -> tuple[AsyncConnection, Head]:
        headers = (*self._access.headers(), *operation.headers)
        method, target, body = operation.method, operation.target, operation.body
        while True:
            connection = await self._connection(timeout)
            try:
                return connection, await connection.ask(method, target, headers, body, timeout)
            except TimeoutError:
                connection.close()
                raise timeout.spent() from None
            except OSError as error:
                connection.close()
                is_stale = connection.used and not connection.begun
                if not (is_stale and operation.may_repeat(sent=connection.sent)):
                    raise operation.broken(error) from error
            except BaseException:
                connection.close()
                raise

    async def _connection(self, timeout: Timeout) -> AsyncConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_stale():
                return connection
            connection.close()
        return await AsyncConnection.opened(self._access.address, timeout)

    def _give(self, connection: AsyncConnection) -> None:
        if connection.renew() and len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


class _Reply:
    """The chunks of one reply's body; the connection goes back when they are read or given up."""

    def __init__(
        self,
        operation: Operation[Result],
        connection: AsyncConnection,
        give: Callable[[AsyncConnection], None],
        timeout: Timeout,
    ) -> None:
        self._operation = operation
        self._connection: AsyncConnection | None = connection
        self._give = give
        self._timeout = timeout

    def __aiter__(self) -> _Reply:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        try:
            chunk = await self._connection.chunk(self._timeout)
        except TimeoutError:
            await self.close()
            raise self._timeout.spent() from None
        except OSError as error:
            await self.close()
            raise self._operation.broken(error) from error
        except AnswerInvalid:
            await self.close()
            raise
        if not chunk:
            await self.close()
            raise StopAsyncIteration
        return chunk

    async def close(self) -> None:
        """Gives the connection back, which closes it unless the reply was read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._give(connection)
