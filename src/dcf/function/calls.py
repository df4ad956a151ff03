"""One function calls another, through the gateway that both belong to."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dcf.client.address import GATEWAY, TOKEN
from dcf.client.async_client import AsyncClient
from dcf.client.client import Client
from dcf.client.payload import AsyncData, Data, Part
from dcf.errors import GatewayUnreachable
from dcf.function.request import CURRENT
from dcf.protocol import http

if TYPE_CHECKING:
    from dcf.client.async_stream import AsyncStream
    from dcf.client.sync_stream import OnError, Stream


def call(
    name: str,
    data: Data = b"",
    *,
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Calls another function and returns its whole reply.

    Inside a handler, the call has the id of the call that is being answered, and at most the time
    that is left of it. In a thread that the handler started, it has neither. In an async handler,
    ``call_async`` is the one that lets others go on.

    Args:
        name: The function's name.
        data: What its handler gets: bytes, str, dict, list, a binary file or an iterator of bytes.
        timeout: Seconds until the deadline; None takes what is left.
        headers: Further headers.

    Raises:
        GatewayUnreachable: When this process belongs to no gateway, or it does not answer.
        FunctionNotFound: When there is no such function.
        HandlerRaised: When the other handler raised.
        DeadlineExceeded: When the time is up.
        CallError: When the call went wrong in another way.
    """
    client = _client(*_gateway(name))
    return client.call(name, data, **_inherited(timeout, headers))


async def call_async(
    name: str,
    data: AsyncData = b"",
    *,
    timeout: float | None = None,  # noqa: ASYNC109  the other function is told of it
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """As :func:`call`, awaited; ``data`` may be an async iterator of bytes as well."""
    client = _async_client(asyncio.get_running_loop(), *_gateway(name))
    return await client.call(name, data, **_inherited(timeout, headers))


def stream(
    name: str,
    messages: Iterable[Part],
    *,
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
    on_error: OnError | None = None,
) -> Stream:
    """Streams messages to another function, and gives its replies while messages still go out.

    ::

        for boxes in dcf.stream("detect", req.stream):
            yield draw(boxes)

    The stream has the id of the call that is being answered, and ends when the caller of that one
    stops waiting for all of it, if it has said when. The messages are read in a thread of their
    own. In an async handler, ``stream_async`` is the one that lets others go on.

    Args:
        name: The function's name.
        messages: What its handler gets: bytes, str, dict or list, one at a time.
        timeout: Seconds until the whole stream must be over; None takes what is left, if anybody
            has said.
        headers: Further headers.
        on_error: Is told the error of one message, instead of ``next`` raising it in the place of
            its reply.

    Raises:
        GatewayUnreachable: When this process belongs to no gateway, or it does not answer.
        FunctionNotFound: When there is no such function.
        HandlerRaised: From ``next``, when the other handler raised.
        DeadlineExceeded: From ``next``, when the time is up.
        CallError: When the stream went wrong in another way.
    """
    client = _client(*_gateway(name))
    return client.stream(
        name, messages, on_error=on_error, **_inherited(timeout, headers, stream=True)
    )


def stream_async(
    name: str,
    messages: Iterable[Part] | AsyncIterable[Part],
    *,
    timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
    on_error: OnError | None = None,
) -> AsyncStream:
    """As :func:`stream`, for ``async for``; ``messages`` may be an async iterator as well."""
    client = _async_client(asyncio.get_running_loop(), *_gateway(name))
    return client.stream(
        name, messages, on_error=on_error, **_inherited(timeout, headers, stream=True)
    )


def _gateway(name: str) -> tuple[str, str]:
    url = os.environ.get(GATEWAY)
    if not url:
        raise GatewayUnreachable(
            f"{name} cannot be called: this process belongs to no gateway, which would have set"
            f" {GATEWAY}; functions reach one another when they are deployed"
        )
    return url, os.environ.get(TOKEN, "")


def _inherited(
    timeout: float | None, headers: Mapping[str, str] | None, *, stream: bool = False
) -> dict[str, Any]:
    """Deadline and headers of a call or stream out of the one that is being answered."""
    request = CURRENT.get()
    left = math.inf
    if request is not None:
        # What is left for one reply says nothing of a whole stream.
        left = request.remaining_in_all if stream else request.remaining
    given = {http.REQUEST_ID: request.request_id} if request and request.request_id else {}
    given.update((key.lower(), value) for key, value in (headers or {}).items())
    least = left if timeout is None else min(left, timeout)
    return {"timeout": None if math.isinf(least) else least, "headers": given}


@lru_cache(maxsize=1)
def _client(url: str, token: str) -> Client:
    return Client(url, token)


@lru_cache(maxsize=4)
def _async_client(_loop: asyncio.AbstractEventLoop, url: str, token: str) -> AsyncClient:
    """A client for each event loop: connections belong to one."""
    return AsyncClient(url, token)
