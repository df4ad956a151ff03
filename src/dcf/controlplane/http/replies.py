"""What goes back: a value as JSON, an error as a problem document, lines as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dcf.controlplane.http.bodies import ClientGone
from dcf.errors import AccessDenied, DcfError, NotReady, Overloaded, StartError
from dcf.protocol import http
from dcf.protocol.gateway import JSON_LINES
from dcf.protocol.problem import to_problem
from dcf.protocol.status_codes import status_of
from dcf.protocol.text import json_bytes

Item = TypeVar("Item")


def as_json(value: object, status: int = 200) -> Response:
    """A reply of JSON."""
    return Response(encoded(value), status, media_type=http.JSON)


def encoded(value: object) -> bytes:
    """Return compact JSON."""
    return json_bytes(value, compact=True)


def as_problem(error: DcfError, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """A reply that tells an error."""
    told = dict(headers or {})
    if isinstance(error, AccessDenied):
        told["www-authenticate"] = "Bearer"
    elif isinstance(error, Overloaded):
        told[http.RETRY_AFTER] = str(error.retry_after)
    elif isinstance(error, NotReady | StartError):
        told[http.RETRY_AFTER] = "1"
    body = to_problem(error, request_id)
    return Response(body, status_of(type(error)).http, told, media_type=http.PROBLEM)


def may_see_tracebacks(scope: Scope) -> bool:
    """Return whether the sender of a request may see tracebacks."""
    remote = dict(scope["headers"]).get(http.REMOTE.encode())
    return http.may_see_tracebacks(None if remote is None else remote.decode("latin-1"))


def wants_lines(request: Request) -> bool:
    """Whether a client asks for one JSON object a line."""
    return JSON_LINES in request.headers.get("accept", "")


class Feed(Generic[Item]):
    """Items of a generator, with a bound on the wait for the next one, and none lost by it."""

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        """Has asked for nothing yet.

        Args:
            items: Closed with the feed.
        """
        self._items = items
        self._coming: asyncio.Task[Item] | None = None

    async def ready(self, patience: float) -> bool:
        """Waits for the next item or the end; tells whether either is there.

        Args:
            patience: Seconds to wait.

        Raises:
            Exception: What the generator raises. The feed is closed then.
        """
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_task(self._next())
        try:
            await asyncio.wait({self._coming}, timeout=patience)
            if self._coming.done() and self._coming.exception() is not None:
                with contextlib.suppress(StopAsyncIteration):
                    self._coming.result()
        except BaseException:
            await self.close()
            raise
        return self._coming.done()

    def take(self) -> Item:
        """The next item, once it is ready.

        Raises:
            StopAsyncIteration: When that is the end.
        """
        coming, self._coming = self._coming, None
        if coming is None:
            raise StopAsyncIteration
        return coming.result()

    async def close(self) -> None:
        """Ends the generator, wherever it is."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})
        await self._items.aclose()

    async def _next(self) -> Item:
        return await anext(self._items)


class JsonLinesResponse(Response):
    """A reply that is sent as it is made, and ended when the client goes away."""

    def __init__(
        self, lines: AsyncGenerator[bytes, None], feed: Feed[Any], media_type: str
    ) -> None:
        """A reply that has not begun.

        Args:
            lines: The reply.
            feed: What it is made of; closed in the end.
            media_type: Of the reply.
        """
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._lines = lines
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
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
    """Does ``work``, and gives it up when the client goes away. The request's body has been read.

    Raises:
        ClientGone: When the client went away first.
    """
    loop = asyncio.get_running_loop()
    working, watching = loop.create_task(work), loop.create_task(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
