"""The client of a gateway for asyncio: ``gateway.py``, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from dcf.client import deploy_workflow, operations, rollout_workflow
from dcf.client.address import Access
from dcf.client.async_transport import AsyncTransport
from dcf.client.client import TIMEOUT
from dcf.client.deploy_workflow import Deployable, DeployOptions, nobody_listens
from dcf.client.http11 import Timeout
from dcf.client.payload import AsyncData, Part, check_messages
from dcf.client.response import AsyncResponse, async_lines_of
from dcf.client.waiting import LOOK, Tell, async_telling
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus
from dcf.protocol.progress import Progress

if TYPE_CHECKING:
    from dcf.client.async_stream import AsyncStream
    from dcf.client.async_websocket import AsyncWebSocket
    from dcf.client.sync_stream import OnError


class AsyncClient:
    """One gateway, for one event loop; otherwise as :class:`~dcf.client.client.Client`.

    ::

        async with dcf.AsyncClient() as client:
            print(await client.call("hello", b"Ada"))
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        """A client without a connection; arguments and errors as for ``Client``."""
        self._transport = AsyncTransport(Access(url, token), timeout)
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections that are idle. The client can still be used."""
        await self._transport.close()

    async def call(
        self,
        name: str,
        data: AsyncData = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: Tell | None = None,
    ) -> bytes:
        """As ``Client.call``; ``data`` may be an async iterator of bytes as well, and ``on_wait``
        is called on the event loop.
        """
        total = self._timeout if timeout is None else timeout
        operation = operations.call(
            name, data, method=method, path=path, headers=headers, total=total
        )
        async with async_telling(lambda: self._look(name), on_wait):
            return await self._transport.do(operation)

    async def open(
        self,
        name: str,
        data: AsyncData = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: Tell | None = None,
    ) -> AsyncResponse:
        """As ``Client.open``, with what :meth:`call` takes."""
        operation = operations.call(
            name,
            data,
            method=method,
            path=path,
            headers=headers,
            total=timeout,
            silence=self._timeout,
        )
        async with async_telling(lambda: self._look(name), on_wait):
            return await self._transport.open(operation)

    def stream(
        self,
        name: str,
        messages: Iterable[Part] | AsyncIterable[Part],
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        path: str = "",
        on_error: OnError | None = None,
        on_wait: Tell | None = None,
    ) -> AsyncStream:
        """As ``Client.stream``, with an async iterator; ``messages`` may be one as well.

        ::

            async for boxes in client.stream("detect", frames()):
                print(boxes)

        Connects when the first reply is asked for, or at ``async with``.
        """
        from dcf.client.async_stream import AsyncStream  # noqa: PLC0415  as in AsyncTransport.begin

        check_messages(messages)
        operation = operations.stream(
            name, path=path, headers=headers, total=timeout, silence=self._timeout
        )

        async def begin(timeout: Timeout) -> AsyncWebSocket:
            async with async_telling(lambda: self._look(name), on_wait):
                return await self._transport.begin(operation, timeout)

        return AsyncStream(begin, messages, lambda: operation.timeout(self._timeout), on_error)

    async def _look(self, name: str) -> FunctionStatus:
        return await self._transport.do(operations.function(name, total=LOOK))

    async def functions(self) -> list[FunctionStatus]:
        """As ``Client.functions``."""
        return await self._transport.do(operations.functions())

    async def function(self, name: str) -> FunctionStatus:
        """As ``Client.function``."""
        return await self._transport.do(operations.function(name))

    async def revisions(self, name: str) -> list[RevisionStatus]:
        """As ``Client.revisions``."""
        return await self._transport.do(operations.revisions(name))

    async def events(self, name: str) -> list[Event]:
        """As ``Client.events``."""
        return await self._transport.do(operations.events(name))

    async def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        """As ``Client.scale``."""
        return await self._transport.do(operations.scale(name, replicas))

    async def rollback(
        self,
        name: str,
        revision: int | None = None,
        *,
        wait: bool = True,
        timeout: float = TIMEOUT,
    ) -> FunctionStatus:
        """As ``Client.rollback``."""
        operation = operations.rollback(name, revision)
        return await self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    async def promote(
        self,
        name: str,
        *,
        wait: bool = True,
        timeout: float = TIMEOUT,
    ) -> FunctionStatus:
        """As ``Client.promote``."""
        operation = operations.promote(name)
        return await self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    async def abort(
        self,
        name: str,
        *,
        wait: bool = True,
        timeout: float = TIMEOUT,
    ) -> FunctionStatus:
        """As ``Client.abort``."""
        operation = operations.abort(name)
        return await self._transport.follow(
            rollout_workflow.served(operation, wait=wait, timeout=timeout)
        )

    async def delete(self, name: str) -> None:
        """As ``Client.delete``."""
        await self._transport.do(operations.delete(name))

    async def gateway_info(self) -> GatewayInfo:
        """As ``Client.gateway_info``."""
        return await self._transport.do(operations.gateway_info())

    async def keys(self) -> list[dict[str, Any]]:
        """As ``Client.keys``."""
        return await self._transport.do(operations.keys())

    async def make_key(self, name: str) -> str:
        """As ``Client.make_key``."""
        return await self._transport.do(operations.make_key(name))

    async def revoke_key(self, name: str) -> None:
        """As ``Client.revoke_key``."""
        await self._transport.do(operations.revoke_key(name))

    async def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> AsyncIterator[ReplicaLine]:
        """As ``Client.logs``."""
        operation = operations.logs(name, since=since, tail=tail, follow=follow, replica=replica)
        async with await self._transport.open(operation) as answer:
            async for line in async_lines_of(answer.chunks):
                yield operations.read_line(line)

    async def deploy(
        self,
        build: Deployable,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        annotations: Mapping[str, str] | None = None,
        canary: float | None = None,
        wait: bool = True,
        timeout: float = TIMEOUT,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FunctionStatus:
        """As ``Client.deploy``. The files of the build are read on the event loop."""
        options = DeployOptions(minimum, maximum, annotations, canary, wait, timeout)
        return await self._transport.follow(
            deploy_workflow.deploy(build, options, on_progress or nobody_listens)
        )

    async def list(self) -> list[FunctionStatus]:
        """As :meth:`functions`."""
        return await self.functions()

    async def info(self, name: str) -> FunctionStatus:
        """As :meth:`function`."""
        return await self.function(name)
