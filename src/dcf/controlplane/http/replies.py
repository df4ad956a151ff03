"""Replies: JSON, problem documents, and lines that are sent as they are produced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dcf.controlplane.http.bodies import ClientDisconnected
from dcf.errors import AccessDenied, DcfError, NotReady, Overloaded, StartError
from dcf.protocol import http
from dcf.protocol.gateway import JSON_LINES
from dcf.protocol.problem import to_problem
from dcf.protocol.routes import ApiRoute
from dcf.protocol.status_codes import status_of
from dcf.protocol.text import json_bytes

Item = TypeVar("Item")
Handlers = Mapping[ApiRoute, Callable[[Request], Awaitable[Response]]]


def as_json(value: object, status: int = 200) -> Response:
    """Return a reply with a JSON body."""
    return Response(encoded(value), status, media_type=http.JSON)


def encoded(value: object) -> bytes:
    """Return compact JSON."""
    return json_bytes(value, compact=True)


def as_problem(error: DcfError, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """Return a reply with a problem document."""
    sent = dict(headers or {})
    if isinstance(error, AccessDenied):
        sent["www-authenticate"] = "Bearer"
    elif isinstance(error, Overloaded):
        sent[http.RETRY_AFTER] = str(error.retry_after)
    elif isinstance(error, NotReady | StartError):
        sent[http.RETRY_AFTER] = "1"
    body = to_problem(error, request_id)
    return Response(body, status_of(type(error)).http, sent, media_type=http.PROBLEM)


def may_see_tracebacks(scope: Scope) -> bool:
    """Return whether the sender of a request may see tracebacks."""
    remote = dict(scope["headers"]).get(http.REMOTE.encode())
    return http.may_see_tracebacks(None if remote is None else remote.decode("latin-1"))


def wants_lines(request: Request) -> bool:
    """Return whether a client accepts one JSON object per line."""
    return JSON_LINES in request.headers.get("accept", "")


class Feed(Generic[Item]):
    """Items of a generator. Waiting for the next item can time out without losing it."""

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        """Create a feed. It asks for the first item in :meth:`ready`.

        Args:
            items: The generator; closed with the feed.
        """
        self._items = items
        self._next_item: asyncio.Task[Item] | None = None

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109  a timeout must keep the item
        """Wait for the next item or the end of the generator.

        Args:
            timeout: Maximum seconds to wait.

        Returns:
            Whether :meth:`take` may be called.

        Raises:
            Exception: What the generator raises. The feed is closed then.
        """
        if self._next_item is None:
            self._next_item = asyncio.get_running_loop().create_task(self._next())
        try:
            await asyncio.wait({self._next_item}, timeout=timeout)
            if self._next_item.done() and self._next_item.exception() is not None:
                with contextlib.suppress(StopAsyncIteration):
                    self._next_item.result()
        except BaseException:
            await self.close()
            raise
        return self._next_item.done()

    def take(self) -> Item:
        """Return the next item. :meth:`ready` must have returned true.

        Raises:
            StopAsyncIteration: At the end.
        """
        item, self._next_item = self._next_item, None
        if item is None:
            raise StopAsyncIteration
        return item.result()

    async def close(self) -> None:
        """Close the generator, even while it works on an item."""
        if self._next_item is not None:
            self._next_item.cancel()
            await asyncio.wait({self._next_item})
        await self._items.aclose()

    async def _next(self) -> Item:
        return await anext(self._items)


class JsonLinesResponse(Response):
    """A reply that is sent line by line, and ends when the client disconnects."""

    def __init__(
        self, lines: AsyncGenerator[bytes, None], feed: Feed[Any], media_type: str
    ) -> None:
        """Create the reply.

        Args:
            lines: The body.
            feed: The source of the lines; closed at the end.
            media_type: Media type of the body.
        """
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._lines = lines
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply."""
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if scope["method"] != "HEAD":
                await while_connected(receive, self._send(send))
            await send({"type": "http.response.body", "body": b""})
        finally:
            await self._lines.aclose()
            await self._feed.close()

    async def _send(self, send: Send) -> None:
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Item]) -> Item:
    """Return the result of ``work``, which is cancelled if the client disconnects.

    The request's body must have been read.

    Raises:
        ClientDisconnected: If the client disconnects first.
    """
    loop = asyncio.get_running_loop()
    working, watching = loop.create_task(work), loop.create_task(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnected
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
