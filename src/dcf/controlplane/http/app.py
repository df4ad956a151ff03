"""The control plane's HTTP interface as an ASGI application."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from dcf.controlplane.auth import Authorizer
from dcf.controlplane.http.bodies import check_query
from dcf.controlplane.http.function_routes import FunctionRoutes
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.key_routes import KeyRoutes
from dcf.controlplane.http.log_routes import LogRoutes
from dcf.controlplane.http.middleware import RequestMiddleware
from dcf.controlplane.http.replies import Handlers, as_problem
from dcf.controlplane.http.system import SystemRoutes
from dcf.controlplane.http.upload_routes import UploadRoutes
from dcf.controlplane.service import GatewayService
from dcf.controlplane.tokens import Tokens
from dcf.errors import BadRequest, MethodNotAllowed, PathUnknown
from dcf.model.suggest import nearest
from dcf.protocol import http
from dcf.protocol.routes import ROUTES, AccessLevel, ApiRoute
from dcf.rpc.gateway_messages import SERVICE
from dcf.settings import ControlSettings


def make_app(
    service: GatewayService,
    tokens: Tokens,
    settings: ControlSettings,
    key_set: KeySet | None = None,
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        service: Does the work.
        tokens: Verifies tokens and keys.
        settings: The request limit, and whether the gateway is open.
        key_set: Hands the keys to Envoy; None if calls need no key.
    """
    authorizer = Authorizer(tokens, is_open=settings.open)
    handlers: Handlers = {
        **SystemRoutes(service).handlers,
        **FunctionRoutes(service, settings.request_limit).handlers,
        **LogRoutes(service).handlers,
        **UploadRoutes(service, settings.request_limit).handlers,
        **KeyRoutes(tokens, key_set, settings.request_limit).handlers,
    }
    paths: dict[str, dict[str, ApiRoute]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    routes = [
        Route(path.replace("{path}", "{path:path}"), _Resource(methods, handlers, authorizer))
        for path, methods in paths.items()
    ]
    router = Router(routes, redirect_slashes=False, default=_Unknown(authorizer))
    return RequestMiddleware(router)


class _Resource:
    """The routes with one path."""

    def __init__(
        self, methods: Mapping[str, ApiRoute], handlers: Handlers, authorizer: Authorizer
    ) -> None:
        self._methods = {method: (route, handlers[route]) for method, route in methods.items()}
        self._authorizer = authorizer
        allowed = {*methods, "HEAD"} if "GET" in methods else methods
        self._allowed = ", ".join(sorted(allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, request = scope["method"], Request(scope, receive)
        if method == "HEAD":
            method = "GET"
        if method in self._methods:
            route, handler = self._methods[method]
            await self._authorizer.check(request, route.access)
            check_query(request, route)
            response = await handler(request)
        else:
            await self._authorizer.check(request, AccessLevel.KEY)
            error = MethodNotAllowed(f"expected one of {self._allowed}, got {request.method}")
            response = as_problem(error, request.state.request_id, {"allow": self._allowed})
        await response(scope, receive, send)


class _Unknown:
    """Replies to requests for all other paths."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await self._authorizer.check(Request(scope, receive), AccessLevel.KEY)
        path = scope["path"]
        if path.startswith(f"/{SERVICE}/"):
            raise BadRequest(
                f"{path[:200]} needs gRPC: HTTP/2, content-type application/grpc and te: trailers."
                f" To call functions over HTTP, use {http.FUNCTION_PREFIX}NAME"
            )
        near = nearest(path, dict.fromkeys(route.path for route in ROUTES), limit=1)
        guess = f' (did you mean "{near[0]}"?)' if near else ""
        raise PathUnknown(f'unknown path "{path[:200]}"{guess}')
