"""Functions: what there is, and what is to be."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.deploy.deploy_request import DeployRequest
from dcf.controlplane.http.bodies import Query, read_json, read_object
from dcf.controlplane.http.replies import (
    Feed,
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
from dcf.protocol.gateway import JSON_LINES, members_of
from dcf.protocol.problem import problem_members
from dcf.protocol.progress import Progress, ProgressKind

PING = 5.0
"""Seconds without a line after which a client is told that its deploy goes on."""

_NAMES = ("name", "serviceName", "functionName")
"""What the function is called in a request to scale it; the last two by older clients."""


class FunctionRoutes:
    """Handlers of requests about functions."""

    def __init__(self, plane: GatewayService, limit: int) -> None:
        """Handlers.

        Args:
            plane: Answers.
            limit: Bytes of a body.
        """
        self._plane = plane
        self._limit = limit

    async def list(self, request: Request) -> Response:
        """Every function."""
        Query(request, ())
        found = await self._plane.functions()
        return as_json([members_of(_as_told(one, request)) for one in found])

    async def show(self, request: Request) -> Response:
        """One function."""
        Query(request, ())
        found = await self._plane.function(name_of(request))
        return as_json(members_of(_as_told(found, request)))

    async def revisions(self, request: Request) -> Response:
        """A function's revisions."""
        Query(request, ())
        found = await self._plane.revisions(name_of(request))
        return as_json([members_of(one) for one in found])

    async def events(self, request: Request) -> Response:
        """A function's events."""
        Query(request, ())
        found = await self._plane.events(name_of(request))
        return as_json([members_of(one) for one in found])

    async def delete(self, request: Request) -> Response:
        """Takes a function away."""
        Query(request, ())
        await self._plane.delete(name_of(request))
        return Response(status_code=204)

    async def scale(self, request: Request) -> Response:
        """Asks for a number of replicas, or to have it found out."""
        Query(request, ())
        members = await read_object(request, self._limit, (*_NAMES, "replicas"))
        names = [members[key] for key in _NAMES if key in members]
        if len(names) != 1 or not isinstance(names[0], str):
            raise BadRequest("name: a function's name is wanted, once")
        # Left out by mistake it must not mean that the function scales by itself.
        replicas = members.get("replicas", "")
        if isinstance(replicas, bool) or not isinstance(replicas, int | None):
            raise BadRequest(
                "replicas: a whole number is wanted, or null to have the function scale by itself"
            )
        return as_json(members_of(await self._plane.scale(check_name(names[0]), replicas)))

    async def rollback(self, request: Request) -> Response:
        """Makes an earlier revision the current one again."""
        Query(request, ())
        members = await read_object(request, self._limit, ("revision",), optional=True)
        number = members.get("revision")
        if isinstance(number, bool) or not isinstance(number, int | None):
            raise BadRequest("revision: a whole number is wanted, or null for the one before")
        if number is not None and not 0 < number <= LARGEST:
            raise BadRequest("revision: revisions are counted from 1")
        return as_json(members_of(await self._plane.rollback(name_of(request), number)))

    async def promote(self, request: Request) -> Response:
        """Makes the canary the current revision."""
        Query(request, ())
        await read_object(request, self._limit, (), optional=True)
        return as_json(members_of(await self._plane.promote(name_of(request))))

    async def abort(self, request: Request) -> Response:
        """Ends the canary."""
        Query(request, ())
        await read_object(request, self._limit, (), optional=True)
        return as_json(members_of(await self._plane.abort(name_of(request))))

    async def deploy(self, request: Request) -> Response:
        """Deploys. A client that goes away before the revision is in the catalog cancels it."""
        Query(request, ())
        deployment = DeployRequest.from_members(await read_json(request, self._limit))
        steps = self._plane.deploy(deployment)
        if wants_lines(request):
            feed = Feed(steps)
            return JsonLinesResponse(_told(feed, request.state.request_id), feed, JSON_LINES)
        last = await while_connected(request.receive, _last(steps))
        status = 200 if last.kind is ProgressKind.READY else 202
        return as_json(None if last.function is None else members_of(last.function), status)

    async def call(self, request: Request) -> Response:
        """A call that Envoy could not send anywhere."""
        raise await self._plane.why_not(request.path_params["name"])


def name_of(request: Request) -> str:
    """The function's name in a request's path.

    Raises:
        InvalidName: When it cannot be one.
    """
    return check_name(request.path_params["name"])


def _as_told(found: FunctionStatus, request: Request) -> FunctionStatus:
    """Return a function's status, without the traceback for callers that may not see it."""
    if found.failure is None or may_see_tracebacks(request.scope):
        return found
    return replace(found, failure=replace(found.failure, traceback=""))


async def _last(steps: AsyncGenerator[Progress, None]) -> Progress:
    last = Progress(ProgressKind.PING)
    async with contextlib.aclosing(steps):
        async for step in steps:
            last = step
    return last


async def _told(feed: Feed[Progress], request_id: str) -> AsyncGenerator[bytes, None]:
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
