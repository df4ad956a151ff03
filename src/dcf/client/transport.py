"""Sends operations to a gateway over blocking connections."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, TypeVar

from dcf.client.address import Access
from dcf.client.connection import Connection, Pool
from dcf.client.deploy_workflow import Pause, Step, Workflow
from dcf.client.http11 import Head, Timeout
from dcf.client.operation import Operation
from dcf.client.payload import Part
from dcf.client.response import Response, lines_of
from dcf.errors import AnswerInvalid, DcfError
from dcf.model.status import FunctionStatus

if TYPE_CHECKING:
    from dcf.client.sync_stream import OnError, Stream

Result = TypeVar("Result")


class Transport:
    """The way to one gateway. For any number of threads."""

    def __init__(self, access: Access, timeout: float) -> None:
        """A way that nobody has gone yet.

        Args:
            access: Where the gateway is, and the token.
            timeout: Seconds without a byte, for an operation that says nothing itself.
        """
        self._access = access
        self._timeout = timeout
        self._pool = Pool(access.address)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._access.address.url

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._pool.close()

    def do(self, operation: Operation[Result]) -> Result:
        """Sends an operation and reads its whole reply.

        Raises:
            DcfError: What went wrong.
        """
        with self.open(operation) as answer:
            return operation.result(Head(answer.status, answer.headers), answer.read())

    def open(self, operation: Operation[Result]) -> Response:
        """Sends an operation; its reply is still to be read, or to be closed.

        Raises:
            DcfError: What went wrong.
        """
        timeout = operation.timeout(self._timeout)
        connection, head = self._ask(operation, timeout)
        reply = _Reply(operation, connection, self._pool, timeout)
        answer = Response(head.status, head.headers, reply, reply.close)
        if operation.is_refused(head):
            with answer:
                raise operation.refusal(head, answer.read())
        return answer

    def stream(
        self, operation: Operation[bytes], messages: Iterable[Part], on_error: OnError | None
    ) -> Stream:
        """Begins a stream; its replies are still to be read, or it is to be closed.

        Raises:
            DcfError: What went wrong.
        """
        from dcf.client.sync_stream import Stream  # noqa: PLC0415  WebSockets take a while to import
        from dcf.client.sync_websocket import SyncWebSocket  # noqa: PLC0415  likewise

        timeout = operation.timeout(self._timeout)
        headers = (*self._access.headers(), *operation.headers)
        try:
            connection = SyncWebSocket(self._access.address, operation.target, headers, timeout)
        except TimeoutError:
            raise timeout.spent() from None
        return Stream(connection, messages, timeout, on_error)

    def follow(self, course: Workflow) -> FunctionStatus:
        """Takes the steps of a deploy.

        Raises:
            DcfError: What went wrong.
        """
        step = next(course)
        try:
            while True:
                try:
                    result = self._take(step)
                except DcfError as error:
                    step = course.throw(error)
                else:
                    step = course.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is untyped
        finally:
            course.close()

    def _take(self, step: Step) -> object:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Operation):
            return self.do(step)
        with self.open(step.operation) as answer:
            for line in lines_of(answer.chunks):
                if (last := step.take(line)) is not None:
                    return last
        raise step.operation.broken("the reply ended too early")

    def _ask(self, operation: Operation[Result], timeout: Timeout) -> tuple[Connection, Head]:
        while True:
            connection = self._pool.take(timeout)
            try:
                return connection, self._send(operation, connection, timeout)
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

    def _send(self, operation: Operation[Result], connection: Connection, timeout: Timeout) -> Head:
        body = operation.body
        if isinstance(body, AsyncIterable):
            raise TypeError("an async iterator can be sent by the async client only")
        headers = (*self._access.headers(), *operation.headers)
        return connection.ask(operation.method, operation.target, headers, body, timeout)


class _Reply:
    """The chunks of one reply's body; the connection goes back when they are read or given up."""

    def __init__(
        self,
        operation: Operation[Result],
        connection: Connection,
        pool: Pool,
        timeout: Timeout,
    ) -> None:
        self._operation = operation
        self._connection: Connection | None = connection
        self._pool = pool
        self._timeout = timeout

    def __iter__(self) -> _Reply:
        return self

    def __next__(self) -> bytes:
        if self._connection is None:
            raise StopIteration
        try:
            chunk = self._connection.chunk(self._timeout)
        except TimeoutError:
            self.close()
            raise self._timeout.spent() from None
        except OSError as error:
            self.close()
            raise self._operation.broken(error) from error
        except AnswerInvalid:
            self.close()
            raise
        if not chunk:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Gives the connection back, which closes it unless the reply was read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give(connection)
