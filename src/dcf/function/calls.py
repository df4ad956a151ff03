"""Calls from one function to another, through the gateway of both."""

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
    """Call another function and return its whole reply.

    In a handler, the call inherits the id of the current call and its remaining time. In a thread
    that the handler started, it inherits neither. In an async handler, use ``call_async``, which
    does not block other calls.

    Args:
        name: The function's name.
        data: The input: bytes, str, dict, list, a binary file or an iterator of bytes.
        timeout: Seconds until the deadline; None takes the remaining time.
        headers: Further headers.

    Raises:
        GatewayUnreachable: If this process has no gateway, or the gateway does not answer.
        FunctionNotFound: If the function does not exist.
        HandlerRaised: If the other handler raised.
        DeadlineExceeded: If there is no reply before the deadline.
        CallError: If the call failed in another way.
    """
    client = _client(*_gateway(name))
    return client.call(name, data, **_inherited(timeout, headers))


async def call_async(
    name: str,
    data: AsyncData = b"",
    *,
    timeout: float | None = None,  # noqa: ASYNC109  it is sent to the other function
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Do the same as :func:`call`, awaited. ``data`` may be an async iterator of bytes too."""
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
    """Stream messages to another function, and yield its replies while messages are still sent.

    ::

        for boxes in dcf.stream("detect", req.stream):
            yield draw(boxes)

    The stream inherits the id of the current call, and its deadline if its caller set one for the
    whole stream. The messages are read in a thread of their own. In an async handler, use
    ``stream_async``, which does not block other calls.

    Args:
        name: The function's name.
        messages: The messages: each bytes, str, dict or list.
        timeout: Seconds until the deadline of the whole stream; None takes the remaining time, if
            there is a deadline.
        headers: Further headers.
        on_error: Called with the error of one message, instead of raising it from ``next``.

    Raises:
        GatewayUnreachable: If this process has no gateway, or the gateway does not answer.
        FunctionNotFound: If the function does not exist.
        HandlerRaised: From ``next``, if the other handler raised.
        DeadlineExceeded: From ``next``, if the deadline has passed.
        CallError: If the stream failed in another way.
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
    """Do the same as :func:`stream`, for ``async for``; ``messages`` may be an async iterator."""
    client = _async_client(asyncio.get_running_loop(), *_gateway(name))
    return client.stream(
        name, messages, on_error=on_error, **_inherited(timeout, headers, stream=True)
    )


def _gateway(name: str) -> tuple[str, str]:
    url = os.environ.get(GATEWAY)
    if not url:
        raise GatewayUnreachable(
            f"cannot call {name}: expected the address of a gateway in {GATEWAY}, got nothing;"
            " deploy both functions to a gateway"
        )
    return url, os.environ.get(TOKEN, "")


def _inherited(
    timeout: float | None, headers: Mapping[str, str] | None, *, stream: bool = False
) -> dict[str, Any]:
    """Return the timeout and headers that a call or stream inherits from the current call."""
    request = CURRENT.get()
    remaining = math.inf
    if request is not None:
        # The remaining time for one reply does not limit a whole stream.
        remaining = request.remaining_in_all if stream else request.remaining
    given = {http.REQUEST_ID: request.request_id} if request and request.request_id else {}
    given.update((key.lower(), value) for key, value in (headers or {}).items())
    least = remaining if timeout is None else min(remaining, timeout)
    return {"timeout": None if math.isinf(least) else least, "headers": given}


@lru_cache(maxsize=1)
def _client(url: str, token: str) -> Client:
    return Client(url, token)


@lru_cache(maxsize=4)
def _async_client(_loop: asyncio.AbstractEventLoop, url: str, token: str) -> AsyncClient:
    """Return the client of an event loop. Connections cannot be shared between loops."""
    return AsyncClient(url, token)
