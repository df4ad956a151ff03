"""The client of a gateway for asyncio. :mod:`dcf.client.client` makes the sync client from it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dcf.client import address, deploy_workflow, operations, rollout_workflow
from dcf.client.async_network import AsyncNetwork
from dcf.client.deploy_workflow import Deployable, DeployOptions
from dcf.client.network import Network
from dcf.client.operation import Operation
from dcf.client.payload import AsyncData, Part, check_messages
from dcf.client.response import AsyncResponse, lines_of
from dcf.client.timeout import Timeout
from dcf.client.transport import Transport
from dcf.errors import DcfError
from dcf.model.event import Event
from dcf.model.status import FunctionStatus, GatewayInfo, ReplicaLine, RevisionStatus
from dcf.protocol.progress import Progress

if TYPE_CHECKING:
    from dcf.client.async_stream import AsyncStream
    from dcf.client.async_websocket import AsyncWebSocket
    from dcf.client.sync_stream import OnError

TIMEOUT = 300.0
"""Default seconds that a call may take: the default limit of a function."""
NOTICE_DELAY = 1.0
"""Seconds without a reply after which ``on_wait`` may be called."""
STATUS_TIMEOUT = 2.0
"""Maximum seconds for the function's status that ``on_wait`` gets."""

OnWait = Callable[[FunctionStatus], object]
"""Called with the status of a function whose replicas are not ready."""


class AsyncClient:
    """A gateway, for one event loop. It connects on first use.

    The methods have the parameters and errors of :class:`~dcf.client.client.Client`.

    ::

        async with dcf.AsyncClient() as client:
            print(await client.call("hello", b"Ada"))
    """

    _network: ClassVar[Network] = AsyncNetwork()

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        """Create a client. See ``Client``."""
        gateway = address.find(url)
        headers = address.Credentials(gateway, token).headers
        self._transport = Transport(self._network, gateway, timeout, headers=headers)
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._transport.address.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections. The client can still be used."""
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
        on_wait: OnWait | None = None,
    ) -> bytes:
        """Call a function and return its whole reply. See ``Client.call``.

        ``data`` may also be an async iterator of bytes. ``on_wait`` is called on the event loop.
        """
        total = self._timeout if timeout is None else timeout
        operation = operations.call(
            name, data, method=method, path=path, headers=headers, total=total
        )
        async with self._noticing(name, on_wait):
            return await self._transport.send(operation)

    async def open(
        self,
        name: str,
        data: AsyncData = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: OnWait | None = None,
    ) -> AsyncResponse:
        """Call a function and return its reply while it arrives. See ``Client.open``."""
        operation = operations.call(
            name,
            data,
            method=method,
            path=path,
            headers=headers,
            total=timeout,
            silence=self._timeout,
        )
        async with self._noticing(name, on_wait):
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
        on_wait: OnWait | None = None,
    ) -> AsyncStream:
        """Stream messages to a function and yield its replies. See ``Client.stream``.

        ``messages`` may also be an async iterable. The stream connects when its first reply is
        requested, or at ``async with``. ::

            async for boxes in client.stream("detect", frames()):
                print(boxes)
        """
        # Imported here: the WebSocket library takes a while to import.
        from dcf.client.async_stream import AsyncStream  # noqa: PLC0415
        from dcf.client.async_websocket import AsyncWebSocket  # noqa: PLC0415

        check_messages(messages)
        operation = operations.stream(
            name, path=path, headers=headers, total=timeout, silence=self._timeout
        )
        transport = self._transport

        async def connect(timeout: Timeout) -> AsyncWebSocket:
            async with self._noticing(name, on_wait):
                sent = transport.headers(operation)
                return await AsyncWebSocket.open(transport.address, operation.target, sent, timeout)

        return AsyncStream(connect, messages, lambda: transport.timeout(operation), on_error)

    async def functions(self) -> list[FunctionStatus]:
        """Return all functions, without their replicas."""
        return await self._transport.send(operations.functions())

    async def function(self, name: str) -> FunctionStatus:
        """Return a function, with its replicas.

        Raises:
            FunctionNotFound: When there is no such function; ``near`` has similar names.
        """
        return await self._transport.send(operations.function(name))

    async def revisions(self, name: str) -> list[RevisionStatus]:
        """Return the function's revisions, newest first. Errors as for :meth:`function`."""
        return await self._transport.send(operations.revisions(name))

    async def events(self, name: str) -> list[Event]:
        """Return the function's events, newest first. Errors as for :meth:`function`."""
        return await self._transport.send(operations.events(name))

    async def scale(self, name: str, replicas: int | None) -> FunctionStatus:
        """Set the number of replicas, and return without waiting for them.

        Args:
            name: The function's name.
            replicas: The number, which stays until it is changed; None returns to automatic
                scaling.

        Raises:
            FunctionNotFound: When there is no such function; ``near`` has similar names.
            SpecInvalid: When the number is negative or too large.
        """
        return await self._transport.send(operations.scale(name, replicas))

    async def rollback(
        self,
        name: str,
        revision: int | None = None,
        *,
        wait: bool = True,
        timeout: float = TIMEOUT,
    ) -> FunctionStatus:
        """Make an earlier revision the current one. A canary ends.

        Args:
            name: The function's name.
            revision: Number of the revision; None uses the previous one.
            wait: Whether to wait until it serves all calls.
            timeout: Maximum seconds to wait.

        Raises:
            FunctionNotFound: When there is no such function or revision.
            RolloutInvalid: When there is no previous revision.
            StartError: When its replicas do not start; with the author's traceback. The revision
                that serves now keeps serving.
            StartTimeout: When it is not ready in time. It continues to start.
        """
        operation = operations.rollback(name, revision)
        return await self._roll_out(operation, wait=wait, timeout=timeout)

    async def promote(
        self, name: str, *, wait: bool = True, timeout: float = TIMEOUT
    ) -> FunctionStatus:
        """Make the canary the current revision. Arguments and errors as for :meth:`rollback`.

        Raises:
            RolloutInvalid: When there is no canary.
        """
        return await self._roll_out(operations.promote(name), wait=wait, timeout=timeout)

    async def abort(
        self, name: str, *, wait: bool = True, timeout: float = TIMEOUT
    ) -> FunctionStatus:
        """End the canary; the current revision serves all calls. As :meth:`promote`."""
        return await self._roll_out(operations.abort(name), wait=wait, timeout=timeout)

    async def delete(self, name: str) -> None:
        """Delete the function. Errors as for :meth:`function`."""
        await self._transport.send(operations.delete(name))

    async def gateway_info(self) -> GatewayInfo:
        """Return the gateway's version and state."""
        return await self._transport.send(operations.gateway_info())

    async def keys(self) -> list[dict[str, Any]]:
        """Return the keys: ``name``, ``created``, ``revoked``."""
        return await self._transport.send(operations.keys())

    async def make_key(self, name: str) -> str:
        """Create a key that allows calls, and return it. It cannot be read again later.

        Raises:
            NameTaken: When there is already a key of that name.
        """
        return await self._transport.send(operations.make_key(name))

    async def revoke_key(self, name: str) -> None:
        """Revoke a key."""
        await self._transport.send(operations.revoke_key(name))

    async def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> AsyncIterator[ReplicaLine]:
        """Yield the log lines of the function's replicas. See ``Client.logs``."""
        operation = operations.logs(name, since=since, tail=tail, follow=follow, replica=replica)
        async with await self._transport.open(operation) as response:
            async for line in lines_of(response.chunks):
                yield operation.parse(line)

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
        """Upload what the gateway lacks of a build, and deploy it.

        An upload whose connection breaks is resumed. The build's files are read in this thread.

        Args:
            build: What to deploy.
            minimum: Minimum number of replicas; None leaves it unchanged.
            maximum: Maximum number of replicas; None leaves it unchanged.
            annotations: Free key-value pairs; None leaves them unchanged.
            canary: Percent of the calls for this revision, beside the current one; None makes it
                the current revision.
            wait: Whether to wait until replicas are ready.
            timeout: Maximum seconds to wait.
            on_progress: Called with each step, in this thread.

        Raises:
            BuildError: When the gateway cannot make the environment.
            StartError: When the replicas do not start; with the author's traceback.
            SpecInvalid: When the gateway does not accept the function.
            RolloutInvalid: When there is no current revision beside the canary.
        """
        options = DeployOptions(minimum, maximum, annotations, canary, wait, timeout)
        return await deploy_workflow.deploy(self._transport, build, options, on_progress)

    async def list(self) -> list[FunctionStatus]:
        """Return all functions. Same as :meth:`functions`."""
        return await self.functions()

    async def info(self, name: str) -> FunctionStatus:
        """Return a function. Same as :meth:`function`."""
        return await self.function(name)

    async def _roll_out(
        self, operation: Operation[FunctionStatus], *, wait: bool, timeout: float
    ) -> FunctionStatus:
        return await rollout_workflow.roll_out(
            self._transport, operation, wait=wait, timeout=timeout
        )

    def _noticing(self, name: str, on_wait: OnWait | None) -> AbstractAsyncContextManager[None]:
        """Call ``on_wait`` if the block takes long because the function has no ready replica."""
        if on_wait is None:
            return nullcontext()

        async def status() -> FunctionStatus | None:
            try:
                return await self._transport.send(operations.function(name, total=STATUS_TIMEOUT))
            except DcfError:
                return None  # the call itself raises what is wrong

        def notify(function: FunctionStatus | None) -> None:
            if function is not None and not function.takes_calls:
                on_wait(function)

        return self._network.after(NOTICE_DELAY, status, notify)
