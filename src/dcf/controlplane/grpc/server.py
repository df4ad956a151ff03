"""The control plane's gRPC server, on a Unix socket behind Envoy."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from dcf.controlplane.auth import Authorizer
from dcf.controlplane.grpc.servicer import Method, Servicer
from dcf.controlplane.service import GatewayService
from dcf.errors import BadRequest, DcfError, MethodNotAllowed
from dcf.model.suggest import nearest
from dcf.protocol import http
from dcf.protocol.routes import AccessLevel
from dcf.protocol.status_codes import status_of
from dcf.rpc.gateway_messages import MESSAGES, METHODS, SERVICE
from dcf.rpc.grpc_server import start_on
from dcf.rpc.grpc_status import message_of

logger = logging.getLogger("dcf.controlplane")

LARGEST = 4 * 1024**2
"""Maximum size of a request in bytes: gRPC's default. Requests hold names and settings."""

REPLY = -1
"""No limit for replies: the list of functions may be long."""

GRACE = 2.0
"""Seconds that requests in progress get when the server stops."""

REQUEST_TIMEOUT = 10.0
"""Maximum seconds for a client to send its whole request, which holds names and settings."""

NO_DEADLINE = 86_400.0
"""Seconds that a client without a deadline is taken to wait."""

_OPEN = frozenset({"Invoke", "Invokes", "Info", "HealthCheck", "List", "GetMeta"})
RULES: Mapping[str, AccessLevel] = {
    name: AccessLevel.KEY if name in _OPEN else AccessLevel.MANAGEMENT for name in METHODS
}
"""Which credentials each method needs."""

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_CANCELLED = 1
"""gRPC's status for a request whose client disconnected."""

_ELSEWHERE = frozenset({"Invoke", "Invokes"})
"""Methods that do not reach this server: Envoy and the bridge handle them."""


class GrpcServer:
    """The server. All methods must be called on one event loop."""

    def __init__(
        self,
        service: GatewayService,
        authorizer: Authorizer,
        path: Path,
        timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        """Create a server. :meth:`start` starts it.

        Args:
            service: Does the work.
            authorizer: Checks credentials.
            path: Its socket, in a private folder. A leftover socket is replaced.
            timeout: Maximum seconds for a client to send its whole request.
        """
        self._handler = _Handler(Servicer(service).methods, authorizer, timeout)
        self._path = path
        self._server: Any = None

    async def start(self) -> None:
        """Start, and return once requests are accepted.

        Raises:
            AddressInUse: If the socket cannot be created.
        """
        limits = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.max_send_message_length", REPLY),
        ]
        server = grpc.aio.server(options=limits)
        server.add_generic_rpc_handlers((self._handler,))
        await start_on(self._path, server)
        self._server = server

    async def stop(self) -> None:
        """Stop. Requests in progress get :data:`GRACE` seconds."""
        if self._server is not None:
            await self._server.stop(GRACE)
            self._server = None


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Finds the handler of a method. Handlers parse messages themselves, to report errors."""

    def __init__(
        self, methods: Mapping[str, Method], authorizer: Authorizer, timeout: float
    ) -> None:
        self._methods = methods
        self._authorizer = authorizer
        self._timeout = timeout

    def service(self, call: Any) -> Any:
        # Match exactly: a proxy in front that has rules about methods must see the same method.
        name = call.method.removeprefix(f"/{SERVICE}/")
        if name != call.method and name in self._methods:
            # Read it as a stream: grpcio never answers a unary call without a message.
            return grpc.stream_unary_rpc_method_handler(partial(self._answer, name))
        return grpc.stream_stream_rpc_method_handler(partial(self._refuse, call.method))

    async def _answer(self, name: str, requests: AsyncIterator[bytes], context: Any) -> bytes:
        started = time.monotonic()
        number = _CANCELLED
        try:
            await self._authorizer.admit(_metadata(context, "authorization"), RULES[name])
            data = await _whole(requests, self._timeout)
            reply = await self._methods[name](_parsed(name, data), _remaining(context))
            number = 0
            return bytes(reply.SerializeToString())
        except Exception as error:
            number, message = _failure(error, _metadata(context, http.REQUEST_ID))
            await context.abort(_CODES[number], message)
            raise  # not reached: abort raises
        finally:
            _log(name, number, started, context)

    async def _refuse(
        self, method: str, _requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        service, _, name = method.strip("/").rpartition("/")
        try:
            await self._authorizer.admit(_metadata(context, "authorization"), AccessLevel.KEY)
            if service == SERVICE and name in _ELSEWHERE:
                raise MethodNotAllowed(f"{name} is only available at the gateway's public address")
            known = {method.lower(): method for method in METHODS}
            near = nearest(name, known, limit=1)
            guess = f"/{SERVICE}/{known[near[0]]}" if near else f"a method of {SERVICE}"
            raise MethodNotAllowed(f"unknown method {method[:200]} (did you mean {guess}?)")
        except DcfError as error:
            await context.abort(_CODES[status_of(type(error)).grpc], message_of(error))
        yield b""  # not reached: makes this method a generator


async def _whole(requests: AsyncIterator[bytes], timeout: float) -> bytes:  # noqa: ASYNC109  it becomes a status
    """Return the request's only message.

    Args:
        requests: The messages that the client sends.
        timeout: Maximum seconds for the client to send all of them.

    Raises:
        BadRequest: If there is not exactly one message, or the request does not end in time.
    """
    messages: list[bytes] = []
    try:
        async with asyncio.timeout(timeout):
            async for message in requests:
                messages.append(message)
                if len(messages) > 1:
                    break
    except TimeoutError:
        raise BadRequest(f"the request did not end within {timeout:g} s") from None
    if len(messages) != 1:
        got = "more than one" if messages else "none"
        raise BadRequest(f"expected one whole message, uncompressed, got {got}")
    return messages[0]


def _parsed(name: str, data: bytes) -> Any:
    kind = METHODS[name][0]
    try:
        return MESSAGES[kind].FromString(data)
    except DecodeError as error:
        raise BadRequest(f"the message is malformed: expected {kind}") from error


def _remaining(context: Any) -> float:
    remaining = context.time_remaining()
    return NO_DEADLINE if remaining is None else min(remaining, NO_DEADLINE)


def _metadata(context: Any, name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def _failure(error: Exception, request_id: str) -> tuple[int, str]:
    if isinstance(error, DcfError):
        return status_of(type(error)).grpc, message_of(error)
    logger.error("request %s: internal error", request_id, exc_info=error)
    message = f"internal error; see the gateway's log of request {request_id}"
    return status_of(DcfError).grpc, message


def _log(name: str, number: int, started: float, context: Any) -> None:
    members = {
        "method": "gRPC",
        "path": f"/{SERVICE}/{name}",
        "status": number,
        "ms": round((time.monotonic() - started) * 1000, 1),
        "request_id": _metadata(context, http.REQUEST_ID),
    }
    level = logging.DEBUG if name == "HealthCheck" else logging.INFO
    logger.log(level, "%s", json.dumps(members))
