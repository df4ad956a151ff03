"""Handlers of requests about functions."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.http.bodies import read_json, read_object, shown
from dcf.controlplane.http.replies import (
    Feed,
    Handlers,
    JsonLinesResponse,
    as_json,
    may_see_tracebacks,
    wants_lines,
    while_connected,
)
from dcf.controlplane.service import GatewayService
from dcf.errors import BadRequest, DcfError
from dcf.model.names import check_name
from dcf.model.spec_json import LARGEST
from dcf.model.status import FunctionStatus
from dcf.protocol import routes
from dcf.protocol.api_types import Rollback, Scale
from dcf.protocol.gateway import JSON_LINES, members_of
from dcf.protocol.problem import problem_members
from dcf.protocol.progress import Progress, ProgressKind

PING = 5.0
"""Seconds without progress after which a client gets a ping, so that it does not time out."""

_NAMES = ("name", "serviceName", "functionName")
"""Members with the function's name in a request to scale it. Older clients send the last two."""


class FunctionRoutes:
    """Handles requests about functions: ``handlers`` has the handler of each route."""

    def __init__(self, service: GatewayService, limit: int) -> None:
        self._service = service
        self._limit = limit  # of a body, in bytes
        self.handlers: Handlers = {
            routes.LIST_FUNCTIONS: self._list,
            routes.DEPLOY: self._deploy,
            routes.DEPLOY_AGAIN: self._deploy,
            routes.SHOW_FUNCTION: self._show,
            routes.DELETE_FUNCTION: self._delete,
            routes.LIST_REVISIONS: self._revisions,
            routes.LIST_EVENTS: self._events,
            routes.ROLL_BACK: self._rollback,
            routes.PROMOTE: self._promote,
            routes.ABORT: self._abort,
            routes.SCALE: self._scale,
            **dict.fromkeys(routes.CALLS, self._call),
        }

    async def _list(self, request: Request) -> Response:
        functions = await self._service.functions()
        return as_json([members_of(_as_visible(function, request)) for function in functions])

    async def _show(self, request: Request) -> Response:
        function = await self._service.function(name_of(request))
        return as_json(members_of(_as_visible(function, request)))

    async def _revisions(self, request: Request) -> Response:
        revisions = await self._service.revisions(name_of(request))
        return as_json([members_of(revision) for revision in revisions])

    async def _events(self, request: Request) -> Response:
        events = await self._service.events(name_of(request))
        return as_json([members_of(event) for event in events])

    async def _delete(self, request: Request) -> Response:
        await self._service.delete(name_of(request))
        return Response(status_code=204)

    async def _scale(self, request: Request) -> Response:
        members = await read_object(request, self._limit, Scale.__annotations__)
        names = [members[key] for key in _NAMES if key in members]
        if len(names) != 1 or not isinstance(names[0], str):
            raise BadRequest("name: expected one function's name")
        if "replicas" not in members:  # must not default to null, which has another meaning
            raise BadRequest("replicas: expected a whole number or null, got nothing")
        replicas = _whole_or_null(members, "replicas")
        return as_json(members_of(await self._service.scale(check_name(names[0]), replicas)))

    async def _rollback(self, request: Request) -> Response:
        members = await read_object(
            request, self._limit, Rollback.__annotations__, is_optional=True
        )
        number = _whole_or_null(members, "revision")
        if number is not None and not 0 < number <= LARGEST:
            raise BadRequest(f"revision: expected a number, 1 or more, got {shown(number)}")
        return as_json(members_of(await self._service.rollback(name_of(request), number)))

    async def _promote(self, request: Request) -> Response:
        await read_object(request, self._limit, (), is_optional=True)
        return as_json(members_of(await self._service.promote(name_of(request))))

    async def _abort(self, request: Request) -> Response:
        await read_object(request, self._limit, (), is_optional=True)
        return as_json(members_of(await self._service.abort(name_of(request))))

    async def _deploy(self, request: Request) -> Response:
        """Deploy. A client that disconnects before the revision is stored cancels the deploy."""
        deployment = DeployRequest.from_members(await read_json(request, self._limit))
        steps = self._service.deploy(deployment)
        if wants_lines(request):
            feed = Feed(steps)
            lines = _progress_lines(feed, request.state.request_id)
            return JsonLinesResponse(lines, feed, JSON_LINES)
        last = await while_connected(request.receive, _last(steps))
        status = 200 if last.kind is ProgressKind.READY else 202
        return as_json(None if last.function is None else members_of(last.function), status)

    async def _call(self, request: Request) -> Response:
        """Reply to a call for which Envoy had no route."""
        raise await self._service.why_not(request.path_params["name"])


def name_of(request: Request) -> str:
    """Return the function's name in a request's path.

    Raises:
        InvalidName: If the name is not valid.
    """
    return check_name(request.path_params["name"])


def _whole_or_null(members: dict[str, object], name: str) -> int | None:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise BadRequest(f"{name}: expected a whole number or null, got {shown(value)}")
    return value


def _as_visible(function: FunctionStatus, request: Request) -> FunctionStatus:
    """Return a function's status, without the traceback for callers that may not see it."""
    if function.failure is None or may_see_tracebacks(request.scope):
        return function
    return replace(function, failure=replace(function.failure, traceback=""))


async def _last(steps: AsyncGenerator[Progress, None]) -> Progress:
    last = Progress(ProgressKind.PING)
    async with contextlib.aclosing(steps):
        async for step in steps:
            last = step
    return last


async def _progress_lines(feed: Feed[Progress], request_id: str) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            while not await feed.ready(PING):
                yield Progress(ProgressKind.PING).to_line()
            try:
                step = feed.take()
            except StopAsyncIteration:
                return
            yield step.to_line()
    except DcfError as error:
        members = problem_members(error, request_id)
        yield Progress(ProgressKind.FAILED, problem=members).to_line()
