"""Handlers of requests for logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import Query
from dcf.controlplane.http.function_routes import name_of
from dcf.controlplane.http.replies import Feed, Handlers, JsonLinesResponse, encoded, wants_lines
from dcf.controlplane.service import GatewayService
from dcf.model.status import ReplicaLine
from dcf.protocol import http, routes
from dcf.protocol.gateway import JSON_LINES, members_of

FIRST = 1.0
"""Maximum seconds to wait for the first line before the reply begins. Errors arrive sooner, and so
get a status of their own. A client that follows a silent function sees that the log is open."""

QUIET = 60.0
"""Seconds between two checks for new lines while nothing is printed."""


class LogRoutes:
    """Handles requests for logs: ``handlers`` has the handler of each route."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self.handlers: Handlers = {routes.READ_LOG: self._read}

    async def _read(self, request: Request) -> Response:
        query = Query(request)
        lines = self._service.logs(
            name_of(request),
            since=query.seconds("since"),
            tail=query.whole("tail"),
            follow=query.flag("follow"),
            replica=query.text("replica"),
        )
        feed = Feed(lines)
        await feed.ready(FIRST)
        if wants_lines(request):
            return JsonLinesResponse(_encoded_lines(feed, _as_json), feed, JSON_LINES)
        return JsonLinesResponse(_encoded_lines(feed, _as_text), feed, http.TEXT)


async def _encoded_lines(
    feed: Feed[ReplicaLine], encode: Callable[[ReplicaLine], bytes]
) -> AsyncGenerator[bytes, None]:
    while True:
        if await feed.ready(QUIET):
            try:
                line = feed.take()
            except StopAsyncIteration:
                return
            yield encode(line)


def _as_json(line: ReplicaLine) -> bytes:
    return encoded(members_of(line)) + b"\n"


def _as_text(line: ReplicaLine) -> bytes:
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    at = at.replace("+00:00", "Z")
    return f"{at} {line.replica} {line.text}\n".encode(errors="replace")
