"""What a request brings: its JSON, its bytes, its query. Nothing of it is trusted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Collection
from typing import Any

from starlette.requests import Request

from dcf.errors import BadRequest, BodyTooLarge
from dcf.protocol.text import has_half_characters

_HALF_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")
"""Matches the JSON escape of a surrogate, alone or in a pair."""

JSON_PATIENCE = 10.0
"""Seconds without a byte of a JSON body: it is sent in one go."""

BLOB_PATIENCE = 60.0
"""Seconds without a byte of a blob: it comes from a disk, over any line."""


class ClientGone(Exception):
    """The client went away: nobody is left to be answered."""


async def pieces(request: Request, patience: float) -> AsyncGenerator[bytes, None]:
    """A body as it comes.

    Args:
        request: Whose.
        patience: Seconds that may pass without a byte.

    Raises:
        BadRequest: When they did.
        ClientGone: When the client goes away before the end.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(patience):
                message = await request.receive()
        except TimeoutError:
            request.state.stalled = True  # what comes later is no request: the connection ends
            raise BadRequest(f"the body is not whole, and {patience:g} s brought no more") from None
        if message["type"] != "http.request":
            raise ClientGone
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


async def read_object(
    request: Request, limit: int, members: Collection[str], *, optional: bool = False
) -> dict[str, Any]:
    """A JSON object.

    Args:
        request: Whose body it is.
        limit: Bytes.
        members: Those that it may have.
        optional: Whether no body at all stands for an object without members.

    Raises:
        BadRequest: When it is none, or has others.
        BodyTooLarge: When it is over the limit.
        ClientGone: When the client goes away before the end.
    """
    body = await _read(request, limit)
    value = {} if optional and not body else _parsed(body)
    known = ", ".join(members) or "none"
    if not isinstance(value, dict):
        raise BadRequest(f"the body: an object is wanted; its members: {known}")
    for name in value:
        if name not in members:
            raise BadRequest(f"{name[:80]}: there is no such member, only {known}")
    return value


async def read_json(request: Request, limit: int) -> object:
    """What a JSON body says. Errors as for :func:`read_object`."""
    return _parsed(await _read(request, limit))


async def _read(request: Request, limit: int) -> bytes:
    if int(request.headers.get("content-length", 0)) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    async for piece in pieces(request, JSON_PATIENCE):
        body += piece
        if len(body) > limit:
            raise BodyTooLarge(limit)
    return bytes(body)


def _parsed(body: bytes) -> object:
    try:
        value = json.loads(body.decode())
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is no JSON: {place}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is no UTF-8: byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be read as JSON: {error}") from error
    if _HALF_ESCAPED.search(body) and has_half_characters(value):
        raise BadRequest("the body: expected text, got half of a character (a surrogate, \\ud800)")
    return value


class Query:
    """A request's query."""

    def __init__(self, request: Request, known: Collection[str]) -> None:
        """Reads a query.

        Args:
            request: Whose.
            known: What may stand there.

        Raises:
            BadRequest: When something else does.
        """
        self._given = request.query_params
        for name in self._given:
            if name not in known:
                few = ", ".join(known) or "none"
                raise BadRequest(f"{name[:80]}: there is no such query parameter, only: {few}")

    def text(self, name: str) -> str:
        """A text; "" when it is not given."""
        return self._given.get(name, "")

    def whole(self, name: str) -> int | None:
        """A whole number from 0 on; None when it is not given.

        Raises:
            BadRequest: When it is something else.
        """
        text = self._given.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  below 2**63
            raise BadRequest(f"{name}: {text[:80]!r} found, a whole number from 0 on is wanted")
        return int(text)

    def seconds(self, name: str) -> float:
        """Seconds since the epoch; 0 when it is not given.

        Raises:
            BadRequest: When it is something else.
        """
        text = self._given.get(name, "0")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise BadRequest(f"{name}: {text[:80]!r} found, seconds since the epoch are wanted")
        return value

    def flag(self, name: str) -> bool:
        """``1`` or ``0``; the latter when it is not given.

        Raises:
            BadRequest: When it is something else.
        """
        text = self._given.get(name, "0")
        if text not in {"0", "1"}:
            raise BadRequest(f"{name}: {text[:80]!r} found, 0 or 1 is wanted")
        return text == "1"
