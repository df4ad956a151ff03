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
"""Bytes of a request, gRPC's own default: they are names and settings."""

REPLY = -1
"""No bound: a list of every function is as long as it is."""

GRACE = 2.0
"""Seconds that requests under way may take once the server is to end."""

PATIENCE = 10.0
"""Seconds for a client to send its whole request, which holds names and settings."""

UNHURRIED = 86_400.0
"""Seconds that a client waits that sets no deadline."""

RULES: dict[str, AccessLevel] = {
    "Invoke": AccessLevel.KEY,
    "Invokes": AccessLevel.KEY,
    "Info": AccessLevel.KEY,
    "HealthCheck": AccessLevel.KEY,
    "List": AccessLevel.KEY,
    "GetMeta": AccessLevel.KEY,
    "GetLog": AccessLevel.MANAGEMENT,
    "Deploy": AccessLevel.MANAGEMENT,
    "Update": AccessLevel.MANAGEMENT,
    "Delete": AccessLevel.MANAGEMENT,
    "ReplicaUpdate": AccessLevel.MANAGEMENT,
}
"""What each method wants."""

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_CANCELLED = 1
"""gRPC's number for a request whose client went away."""

_ABSENT = {
    "Invokes": "Invokes is answered before it comes here, by the bridge",
    "Invoke": "Invoke is answered before it comes here, by Envoy",
}


class GrpcServer:
    """Serves until it is stopped. On one event loop."""

    def __init__(
        self, plane: GatewayService, door: Authorizer, path: Path, patience: float = PATIENCE
    ) -> None:
        """A server at rest.

        Args:
            plane: Does what is asked.
            door: Knows who may ask.
            path: Its socket, in a private folder; what a killed server left there is replaced.
            patience: Seconds for a client to send its whole request.
        """
        self._handler = _Handler(Servicer(plane).methods, door, patience)
        self._path = path
        self._server: Any = None

    async def start(self) -> None:
        """Returns once requests are accepted.

        Raises:
            AddressInUse: When the socket cannot be made.
        """
        bounds = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.max_send_message_length", REPLY),
        ]
        server = grpc.aio.server(options=bounds)
        server.add_generic_rpc_handlers((self._handler,))
        await start_on(self._path, server)
        self._server = server

    async def stop(self) -> None:
        """Accepts nothing more; requests under way get :data:`GRACE` seconds."""
        if self._server is not None:
            await self._server.stop(GRACE)
            self._server = None


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Finds what answers a method. Messages are read where errors can be told."""

    def __init__(self, methods: Mapping[str, Method], door: Authorizer, patience: float) -> None:
        self._methods = methods
        self._door = door
        self._patience = patience

    def service(self, call: Any) -> Any:
        # Match exactly: a proxy in front that has rules about methods must see the same method.
        name = call.method.removeprefix(f"/{SERVICE}/")
        if name != call.method and name in self._methods:
            # Read it as a stream: grpcio never answers a unary call without a message.
            return grpc.stream_unary_rpc_method_handler(partial(self._answer, name))
        return grpc.stream_stream_rpc_method_handler(partial(self._refuse, call.method))

    async def _answer(self, name: str, requests: AsyncIterator[bytes], context: Any) -> bytes:
        begun = time.monotonic()
        number = _CANCELLED
        try:
            await self._door.admit(_metadata(context, "authorization"), RULES[name])
            data = await _whole(requests, self._patience)
            reply = await self._methods[name](_read(name, data), _patience(context))
            number = 0
            return bytes(reply.SerializeToString())
        except Exception as error:
            number, message = _failure(error, _metadata(context, http.REQUEST_ID))
            await context.abort(_CODES[number], message)
            raise  # abort has raised already
        finally:
            _log(name, number, begun, context)

    async def _refuse(
        self, method: str, _requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        service, _, name = method.strip("/").rpartition("/")
        try:
            await self._door.admit(_metadata(context, "authorization"), AccessLevel.KEY)
            if service == SERVICE and name in _ABSENT:
                raise MethodNotAllowed(_ABSENT[name])
            known = {one.lower(): one for one in METHODS}
            near = [known[one] for one in nearest(name, known, limit=1)]
            meant = f"; is /{SERVICE}/{near[0]} meant?" if near else f", only {SERVICE}'s"
            raise MethodNotAllowed(f"there is no method {method[:200]}{meant}")
        except DcfError as error:
            await context.abort(_CODES[status_of(type(error)).grpc], message_of(error))
        yield b""  # never: a stream is answered by a generator


async def _whole(requests: AsyncIterator[bytes], patience: float) -> bytes:
    """Return the request's only message.

    Args:
        requests: The messages that the client sends.
        patience: Seconds for the client to send all of them.

    Raises:
        BadRequest: If there is not exactly one message, or the request does not end in time.
    """
    found: list[bytes] = []
    try:
        async with asyncio.timeout(patience):
            async for message in requests:
                found.append(message)
                if len(found) > 1:
                    break
    except TimeoutError:
        raise BadRequest(f"the request did not end within {patience:g} s") from None
    if len(found) != 1:
        got = "more than one" if found else "none"
        raise BadRequest(f"expected one whole message, uncompressed, got {got}")
    return found[0]


def _read(name: str, data: bytes) -> Any:
    kind = METHODS[name][0]
    try:
        return MESSAGES[kind].FromString(data)
    except DecodeError as error:
        raise BadRequest(f"the message is malformed: it is no {kind}") from error


def _patience(context: Any) -> float:
    left = context.time_remaining()
    return UNHURRIED if left is None else min(left, UNHURRIED)


def _metadata(context: Any, name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def _failure(error: Exception, request_id: str) -> tuple[int, str]:
    if isinstance(error, DcfError):
        return status_of(type(error)).grpc, message_of(error)
    logger.error("request %s: a defect of the gateway", request_id, exc_info=error)
    told = f"a defect of the gateway; its log tells more of {request_id}"
    return status_of(DcfError).grpc, told


def _log(name: str, number: int, begun: float, context: Any) -> None:
    members = {
        "method": "gRPC",
        "path": f"/{SERVICE}/{name}",
        "status": number,
        "ms": round((time.monotonic() - begun) * 1000, 1),
        "request_id": _metadata(context, http.REQUEST_ID),
    }
    level = logging.DEBUG if name == "HealthCheck" else logging.INFO
    logger.log(level, "%s", json.dumps(members))
