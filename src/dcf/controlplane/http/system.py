"""Handlers of requests about the gateway itself."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.openapi import document
from dcf.controlplane.http.replies import Handlers, as_json, encoded
from dcf.controlplane.metrics import CONTENT_TYPE, render
from dcf.controlplane.service import GatewayService
from dcf.protocol import http, routes
from dcf.protocol.gateway import members_of


class SystemRoutes:
    """Handles requests about the gateway: ``handlers`` has the handler of each route."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._openapi = encoded(document())
        self.handlers: Handlers = {
            routes.HEALTH: self._health,
            routes.METRICS: self._metrics,
            routes.OPENAPI: self._document,
            routes.INFO: self._info,
        }

    async def _health(self, _request: Request) -> Response:
        return Response("ok", media_type=http.TEXT)

    async def _info(self, _request: Request) -> Response:
        return as_json(members_of(await self._service.info()))

    async def _metrics(self, _request: Request) -> Response:
        metrics = render(await self._service.metrics())
        return Response(metrics, headers={"content-type": CONTENT_TYPE})

    async def _document(self, _request: Request) -> Response:
        return Response(self._openapi, media_type=http.JSON)
