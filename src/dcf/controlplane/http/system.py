"""The gateway itself: whether it lives, what it is, its figures, its interface."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import Query
from dcf.controlplane.http.openapi import document
from dcf.controlplane.http.replies import as_json, encoded
from dcf.controlplane.metrics import CONTENT_TYPE, render
from dcf.controlplane.service import GatewayService
from dcf.protocol import http
from dcf.protocol.gateway import members_of


class SystemRoutes:
    """Handlers of requests about the gateway."""

    def __init__(self, plane: GatewayService) -> None:
        self._plane = plane
        self._openapi = encoded(document())

    async def health(self, _request: Request) -> Response:
        """That it lives."""
        return Response("ok", media_type=http.TEXT)

    async def info(self, request: Request) -> Response:
        """What it is."""
        Query(request, ())
        return as_json(members_of(await self._plane.info()))

    async def metrics(self, _request: Request) -> Response:
        """Its figures."""
        return Response(render(await self._plane.metrics()), headers={"content-type": CONTENT_TYPE})

    async def openapi(self, _request: Request) -> Response:
        """Its interface."""
        return Response(self._openapi, media_type=http.JSON)
