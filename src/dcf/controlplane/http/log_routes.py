"""What replicas print, as it was printed or as it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import Query
from dcf.controlplane.http.function_routes import name_of
from dcf.controlplane.http.replies import Feed, JsonLinesResponse, encoded, wants_lines
from dcf.controlplane.service import GatewayService
from dcf.model.status import ReplicaLine
from dcf.protocol import http
from dcf.protocol.gateway import JSON_LINES, members_of

FIRST = 1.0
"""Seconds that a first line or an error may take before the reply begins without: what is refused
is refused sooner, and who follows a silent function is to see that it is followed."""

QUIET = 60.0
"""Seconds between two looks at a log in which nothing is printed."""


class LogRoutes:
    """Handler of requests for logs."""

    def __init__(self, plane: GatewayService) -> None:
        self._plane = plane

    async def read(self, request: Request) -> Response:
        """A function's log."""
        query = Query(request, ("since", "tail", "follow", "replica"))
        lines = self._plane.logs(
            name_of(request),
            since=query.seconds("since"),
            tail=query.whole("tail"),
            follow=query.flag("follow"),
            replica=query.text("replica"),
        )
        feed = Feed(lines)
        await feed.ready(FIRST)
        if wants_lines(request):
            return JsonLinesResponse(_written(feed, _as_json), feed, JSON_LINES)
        return JsonLinesResponse(_written(feed, _as_text), feed, http.TEXT)


async def _written(
    feed: Feed[ReplicaLine], write: Callable[[ReplicaLine], bytes]
) -> AsyncGenerator[bytes, None]:
    while True:
        if await feed.ready(QUIET):
            try:
                line = feed.take()
            except StopAsyncIteration:
                return
            yield write(line)


def _as_json(line: ReplicaLine) -> bytes:
    return encoded(members_of(line)) + b"\n"


def _as_text(line: ReplicaLine) -> bytes:
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    at = at.replace("+00:00", "Z")
    return f"{at} {line.replica} {line.text}\n".encode(errors="replace")
