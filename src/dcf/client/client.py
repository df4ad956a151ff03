"""The sync client of a gateway: the async client over a network that blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from dcf.client import operations
from dcf.client.async_client import TIMEOUT, AsyncClient, OnWait
from dcf.client.operation import Operation
from dcf.client.payload import Data, Part, check_data, check_messages
from dcf.client.response import Response
from dcf.client.sync_network import SyncNetwork, iterate, run
from dcf.client.timeout import Timeout
from dcf.model.status import ReplicaLine

if TYPE_CHECKING:
    from dcf.client.sync_stream import OnError, Stream
    from dcf.client.sync_websocket import SyncWebSocket

__all__ = ["TIMEOUT", "Client"]

Params = ParamSpec("Params")
Result = TypeVar("Result")


class _BlockingClient(AsyncClient):
    """The async client over a network that blocks: its coroutines never suspend."""

    _network = SyncNetwork()

    async def connect(
        self, name: str, operation: Operation[bytes], on_wait: OnWait | None
    ) -> tuple[SyncWebSocket, Timeout]:
        """Open a stream's connection; return it and the stream's time limits."""
        from dcf.client.sync_websocket import SyncWebSocket  # noqa: PLC0415  slow to import

        transport = self._transport
        timeout = transport.timeout(operation)
        async with self._noticing(name, on_wait):
            try:
                return SyncWebSocket(
                    transport.address, operation.target, transport.headers(operation), timeout
                ), timeout
            except TimeoutError:
                raise timeout.error() from None


def _blocking(
    method: Callable[Concatenate[AsyncClient, Params], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Client, Params], Result]:
    """Make a method of the sync client from one of the async client."""

    @functools.wraps(method)
    def call(self: Client, /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        return run(method(self._client, *args, **kwargs))

    call.__qualname__ = f"Client.{method.__name__}"
    return call


class Client:
    """A gateway, for any number of threads. It connects on first use.

    Every method may raise GatewayUnreachable when the gateway does not answer, AccessDenied when
    the token is missing or does not allow the request, AnswerInvalid when another server answers,
    DeadlineExceeded when the reply does not arrive in time, and each error that the gateway
    reports, as its own class.

    ::

        with dcf.Client() as client:
            print(client.call("hello", b"Ada"))
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        """Create a client.

        Args:
            url: ``http://HOST:PORT``, ``https://HOST:PORT``, ``HOST:PORT`` or ``unix:PATH``; None
                uses ``DCF_GATEWAY``, or else the gateway of this machine.
            token: Token or key; None uses ``DCF_TOKEN``, or else the token that a gateway on this
                machine has written for its user.
            timeout: Seconds that a call or request may take if it sets no timeout of its own;
                ``math.inf`` for no limit.

        Raises:
            GatewayUnreachable: When the address is not valid.
        """
        self._client = _BlockingClient(url, token, timeout=timeout)
        self._timeout = timeout

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._client.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def call(
        self,
        name: str,
        data: Data = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: OnWait | None = None,
    ) -> bytes:
        """Call a function and return its whole reply.

        Args:
            name: The function's name.
            data: The handler's input. dict and list become JSON; a binary file or an iterator of
                bytes is sent in parts.
            headers: Additional headers.
            timeout: Seconds until the deadline, which is sent to the function.
            method: The HTTP method.
            path: Path and query after the function's name.
            on_wait: Called once, from another thread, if there is no reply after a second because
                no replica is ready; with the function's status.

        Raises:
            FunctionNotFound: When there is no such function; ``near`` has similar names.
            HandlerRaised: When the handler raised; with its traceback.
            CallError: When the call failed in another way, or the reply's status is an error.
        """
        check_data(data)
        return run(
            self._client.call(
                name,
                data,
                headers=headers,
                timeout=timeout,
                method=method,
                path=path,
                on_wait=on_wait,
            )
        )

    def open(
        self,
        name: str,
        data: Data = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        method: str = "POST",
        path: str = "",
        on_wait: OnWait | None = None,
    ) -> Response:
        """Call a function and return its reply while it arrives.

        The reply must be read to its end or closed. Without ``timeout`` the only deadline is the
        function's own, and the client's timeout limits each wait for a byte. If the function itself
        chose a status of 400 or more, that is not an error here.

        Args and errors as for :meth:`call`.
        """
        check_data(data)
        response = run(
            self._client.open(
                name,
                data,
                headers=headers,
                timeout=timeout,
                method=method,
                path=path,
                on_wait=on_wait,
            )
        )
        return Response.blocking(response)

    def stream(
        self,
        name: str,
        messages: Iterable[Part],
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        path: str = "",
        on_error: OnError | None = None,
        on_wait: OnWait | None = None,
    ) -> Stream:
        """Stream messages to a function, and yield its replies while messages are still sent.

        ::

            for boxes in client.stream("detect", frames()):
                print(boxes)

        Both directions are bounded: if you do not read replies, no further messages are sent. The
        iterable runs in a thread of its own. Without ``timeout`` the only limits are the function's
        own, and the client's timeout limits each wait for a byte.

        Args:
            name: The function's name.
            messages: The handler's input: bytes, str, dict or list, which becomes JSON. An
                exception of the iterable ends the stream and is raised to the reader.
            headers: Additional headers.
            timeout: Seconds until the whole stream must be over, which is sent to the function.
            path: Path and query after the function's name.
            on_error: Called with the error of a single message, in place of its reply. Without it,
                ``next`` raises the error, and the following ``next`` continues with the next reply.
            on_wait: As for :meth:`call`.

        Raises:
            FunctionNotFound: When there is no such function; ``near`` has similar names.
            HandlerRaised: From ``next``, when the handler raised; with its traceback.
            ReplicaLost: From ``next``, when the connection broke.
            CallError: When the stream failed in another way.
            TypeError: When ``messages`` is a single message.
        """
        from dcf.client.sync_stream import Stream  # noqa: PLC0415  slow to import: WebSockets

        check_messages(messages)
        operation = operations.stream(
            name, path=path, headers=headers, total=timeout, silence=self._timeout
        )
        connection, limits = run(self._client.connect(name, operation, on_wait))
        return Stream(connection, messages, limits, on_error)

    def logs(
        self,
        name: str,
        *,
        since: float = 0.0,
        tail: int | None = None,
        follow: bool = False,
        replica: str = "",
    ) -> Iterator[ReplicaLine]:
        """Yield the log lines of the function's replicas, ordered by time.

        Args:
            name: The function's name.
            since: Seconds since the epoch; earlier lines are left out.
            tail: Only this many of the newest lines; None for all.
            follow: Whether to wait for further lines until the iterator is closed.
            replica: Id of a replica; "" for all replicas.

        Raises:
            FunctionNotFound: When there is no such function.
        """
        return iterate(
            self._client.logs(name, since=since, tail=tail, follow=follow, replica=replica)
        )

    close = _blocking(AsyncClient.close)
    functions = _blocking(AsyncClient.functions)
    function = _blocking(AsyncClient.function)
    revisions = _blocking(AsyncClient.revisions)
    events = _blocking(AsyncClient.events)
    scale = _blocking(AsyncClient.scale)
    rollback = _blocking(AsyncClient.rollback)
    promote = _blocking(AsyncClient.promote)
    abort = _blocking(AsyncClient.abort)
    delete = _blocking(AsyncClient.delete)
    gateway_info = _blocking(AsyncClient.gateway_info)
    keys = _blocking(AsyncClient.keys)
    make_key = _blocking(AsyncClient.make_key)
    revoke_key = _blocking(AsyncClient.revoke_key)
    deploy = _blocking(AsyncClient.deploy)
    list = _blocking(AsyncClient.list)
    info = _blocking(AsyncClient.info)
