"""Reads request bodies and queries. Their content is untrusted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Collection
from typing import Any

from starlette.requests import Request

from dcf.errors import BadRequest, BodyTooLarge
from dcf.protocol.routes import ApiRoute
from dcf.protocol.text import has_half_characters

_HALF_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")
"""Matches the JSON escape of a surrogate, alone or in a pair."""

JSON_TIMEOUT = 10.0
"""Maximum seconds between two parts of a JSON body, which clients send at once."""

BLOB_TIMEOUT = 60.0
"""Maximum seconds between two parts of a blob. Disks and networks may be slow."""

_SHOWN = 80
"""Maximum characters of a value in a message."""


class ClientDisconnected(Exception):
    """The client disconnected, so there is nothing to reply to."""


async def chunks_of(request: Request, timeout: float) -> AsyncGenerator[bytes, None]:  # noqa: ASYNC109  per chunk, not of the whole
    """Yield a request's body as it arrives.

    Args:
        request: The request.
        timeout: Maximum seconds between two chunks.

    Raises:
        BadRequest: After the timeout.
        ClientDisconnected: If the client disconnects before the end of the body.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(timeout):
                message = await request.receive()
        except TimeoutError:
            # Late bytes of the body must not be read as the next request.
            request.state.stalled = True
            raise BadRequest(
                f"expected the rest of the body, got nothing for {timeout:g} s"
            ) from None
        if message["type"] != "http.request":
            raise ClientDisconnected
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


async def read_object(
    request: Request, limit: int, members: Collection[str], *, is_optional: bool = False
) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    Args:
        request: The request.
        limit: Maximum size in bytes.
        members: The known members.
        is_optional: Whether an empty body means an empty object.

    Raises:
        BadRequest: If the body is not a JSON object, or has unknown members.
        BodyTooLarge: If it exceeds the limit.
        ClientDisconnected: If the client disconnects before the end of the body.
    """
    body = await _read(request, limit)
    value = {} if is_optional and not body else _parsed(body)
    known = ", ".join(members) or "none"
    if not isinstance(value, dict):
        raise BadRequest(
            f"the body: expected a JSON object, got {shown(value)}; known members: {known}"
        )
    for name in value:
        if name not in members:
            raise BadRequest(f'unknown member "{name[:_SHOWN]}"; known members: {known}')
    return value


async def read_json(request: Request, limit: int) -> object:
    """Return the JSON value in a request's body. Errors as for :func:`read_object`."""
    return _parsed(await _read(request, limit))


async def _read(request: Request, limit: int) -> bytes:
    if int(request.headers.get("content-length", 0)) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    async for chunk in chunks_of(request, JSON_TIMEOUT):
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(limit)
    return bytes(body)


def _parsed(body: bytes) -> object:
    try:
        value = json.loads(body.decode())
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not valid JSON: {place}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid UTF-8: byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error
    if _HALF_ESCAPED.search(body) and has_half_characters(value):
        raise BadRequest("the body: expected text, got half of a character (a surrogate, \\ud800)")
    return value


def shown(value: object) -> str:
    """Return a JSON value for a message."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value[:_SHOWN] if isinstance(value, str) else value)[:_SHOWN]


def check_query(request: Request, route: ApiRoute) -> None:
    """Check that a request has no unknown query parameters.

    Raises:
        BadRequest: If it has; the error names the known ones.
    """
    if route.takes_any_query:
        return
    names = [each.name for each in route.parameters if not route.is_in_path(each)]
    for name in request.query_params:
        if name not in names:
            known = ", ".join(names) or "none"
            raise BadRequest(
                f'unknown query parameter "{name[:_SHOWN]}"; known query parameters: {known}'
            )


class Query:
    """The parameters in a request's query. A method raises BadRequest for an invalid value."""

    def __init__(self, request: Request) -> None:
        self._parameters = request.query_params

    def text(self, name: str) -> str:
        """Return a text; "" if it is not given."""
        return self._parameters.get(name, "")

    def whole(self, name: str) -> int | None:
        """Return a whole number, 0 or more; None if it is not given."""
        text = self._parameters.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  below 2**63
            raise BadRequest(f"{name}: expected a whole number, 0 or more, got {text[:_SHOWN]!r}")
        return int(text)

    def seconds(self, name: str) -> float:
        """Return seconds since the epoch; 0 if they are not given."""
        text = self._parameters.get(name, "0")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise BadRequest(f"{name}: expected seconds since the epoch, got {text[:_SHOWN]!r}")
        return value

    def flag(self, name: str) -> bool:
        """Return whether a parameter is ``1``; it is ``0`` if it is not given."""
        text = self._parameters.get(name, "0")
        if text not in {"0", "1"}:
            raise BadRequest(f"{name}: expected 0 or 1, got {text[:_SHOWN]!r}")
        return text == "1"
