"""Paths and methods, and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from dcf.controlplane.auth import RULES, AccessLevel, Authorizer
from dcf.controlplane.http.function_routes import FunctionRoutes
from dcf.controlplane.http.jwks import KeySet
from dcf.controlplane.http.key_routes import KeyRoutes
from dcf.controlplane.http.log_routes import LogRoutes
from dcf.controlplane.http.middleware import RequestMiddleware
from dcf.controlplane.http.replies import as_problem
from dcf.controlplane.http.system import SystemRoutes
from dcf.controlplane.http.upload_routes import UploadRoutes
from dcf.controlplane.service import GatewayService
from dcf.controlplane.tokens import Tokens
from dcf.errors import BadRequest, MethodNotAllowed, PathUnknown
from dcf.model.suggest import nearest
from dcf.protocol import gateway, http
from dcf.rpc.gateway_messages import SERVICE
from dcf.settings import ControlSettings

Handler = Callable[[Request], Awaitable[Response]]
Table = Mapping[str, Mapping[str, Handler]]
"""From paths and methods to handlers."""

_CALL = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_app(
    plane: GatewayService,
    tokens: Tokens,
    settings: ControlSettings,
    key_set: KeySet | None = None,
) -> ASGIApp:
    """The control plane's interface as an ASGI application.

    Args:
        plane: Does what is asked.
        tokens: Knows who may ask.
        settings: Bounds, and whether the gateway is open.
        key_set: Tells Envoy the keys; None where no call needs one.
    """
    door = Authorizer(tokens, is_open=settings.open)
    table = handlers(plane, tokens, settings, key_set)
    routes = [Route(path, _Resource(path, methods, door)) for path, methods in table.items()]
    return RequestMiddleware(Router(routes, redirect_slashes=False, default=_Unknown(table, door)))


def handlers(
    plane: GatewayService, tokens: Tokens, settings: ControlSettings, key_set: KeySet | None = None
) -> Table:
    """Every handler by path and method."""
    itself, logs = SystemRoutes(plane), LogRoutes(plane)
    functions = FunctionRoutes(plane, settings.request_limit)
    uploads = UploadRoutes(plane, settings.request_limit)
    keys = KeyRoutes(tokens, key_set, settings.request_limit)
    function = gateway.FUNCTION + "{name}"
    call = http.FUNCTION_PREFIX + "{name}"
    return {
        gateway.HEALTHZ: {"GET": itself.health},
        gateway.METRICS: {"GET": itself.metrics},
        gateway.OPENAPI: {"GET": itself.openapi},
        gateway.INFO: {"GET": itself.info},
        gateway.FUNCTIONS: {
            "GET": functions.list,
            "POST": functions.deploy,
            "PUT": functions.deploy,
        },
        function: {"GET": functions.show, "DELETE": functions.delete},
        function + gateway.REVISIONS: {"GET": functions.revisions},
        function + gateway.EVENTS: {"GET": functions.events},
        function + gateway.ROLLBACK: {"POST": functions.rollback},
        function + gateway.PROMOTE: {"POST": functions.promote},
        function + gateway.ABORT: {"POST": functions.abort},
        gateway.SCALE: {"PUT": functions.scale},
        gateway.LOG + "{name}": {"GET": logs.read},
        gateway.UPLOADS: {"POST": uploads.announce},
        gateway.BLOBS + "{digest}": {"PUT": uploads.receive},
        gateway.KEYS: {"GET": keys.list, "POST": keys.make},
        gateway.KEYS + "/{name}": {"DELETE": keys.revoke},
        call: dict.fromkeys(_CALL, functions.call),
        call + "/{path:path}": dict.fromkeys(_CALL, functions.call),
    }


class _Resource:
    """What is at one path."""

    def __init__(self, path: str, methods: Mapping[str, Handler], door: Authorizer) -> None:
        self._methods = {
            method: (RULES[method, path], handler) for method, handler in methods.items()
        }
        self._door = door
        allowed = {*methods, "HEAD"} if "GET" in methods else methods
        self._allowed = ", ".join(sorted(allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, request = scope["method"], Request(scope, receive)
        access, handler = self._methods.get(
            "GET" if method == "HEAD" else method, (AccessLevel.KEY, self._refuse)
        )
        await self._door.check(request, access)
        response = await handler(request)
        await response(scope, receive, send)

    async def _refuse(self, request: Request) -> Response:
        error = MethodNotAllowed(f"{request.method} is not for this path, only {self._allowed}")
        return as_problem(error, request.state.request_id, {"allow": self._allowed})


class _Unknown:
    """What is at every other path."""

    def __init__(self, table: Table, door: Authorizer) -> None:
        self._paths = tuple(table)
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await self._door.check(Request(scope, receive), AccessLevel.KEY)
        path = scope["path"]
        if path.startswith(f"/{SERVICE}/"):
            raise BadRequest(
                f"{path[:200]} is gRPC: HTTP/2, content-type application/grpc and te: trailers are"
                f" wanted there. Over HTTP, functions are called at {http.FUNCTION_PREFIX}NAME"
            )
        near = nearest(path, self._paths, limit=1)
        meant = f"; is {near[0]} meant?" if near else ""
        raise PathUnknown(f"there is nothing at {path[:200]}{meant}")
