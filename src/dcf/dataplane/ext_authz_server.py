"""The service that Envoy asks about each held call. It answers once the call may continue.

Envoy holds the call meanwhile, and reads no more of its body than fits into its buffers. If the
client disconnects, Envoy cancels the question. If the service ends, Envoy asks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from dcf.dataplane.route_timeouts import GRPC_TIMEOUT
from dcf.rpc import ext_authz_messages
from dcf.rpc.grpc_server import start_on

_DENIED = 7
"""gRPC's PERMISSION_DENIED. Envoy only distinguishes 0 from other numbers."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A question about a held call.

    Attributes:
        path: Path and query of its URL.
        headers: The headers that the listener forwards, by their lowercase names.
        since: When the call arrived, in seconds since the epoch. Repeated questions about a call
            have the same value.
    """

    path: str
    headers: Mapping[str, str]
    since: float


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The decision about a held call.

    Attributes:
        refusal: Status and body of the reply to a refused call; None releases the call.
        request: Headers to set in the request of a released call. At least one is required,
            because Envoy selects the route again only if the headers change.
        reply: Headers to add to the reply in either case.
    """

    refusal: tuple[int, str] | None = None
    request: Mapping[str, str] = field(default_factory=dict)
    reply: Mapping[str, str] = field(default_factory=dict)


CheckHandler = Callable[[CheckRequest], Awaitable[CheckResult]]
"""Returns the decision. It is cancelled if the client disconnects."""


class ExtAuthzServer:
    """The gRPC server of the service. Not thread-safe: it belongs to one event loop."""

    def __init__(self, decide: CheckHandler) -> None:
        """Create a server that does not listen yet.

        Args:
            decide: Decides about calls.
        """
        self._decide = decide
        self._server: Any = None

    async def start(self, path: Path) -> None:
        """Start to listen.

        Args:
            path: Path of the Unix socket, in a private folder. An existing file is replaced.

        Raises:
            AddressInUse: If the socket cannot be opened.
        """
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=ext_authz_messages.CheckRequest.FromString,
            response_serializer=ext_authz_messages.CheckResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(
            ext_authz_messages.SERVICE, {ext_authz_messages.METHOD: method}
        )
        server.add_generic_rpc_handlers((handler,))
        await start_on(path, server)
        self._server = server

    async def stop(self) -> None:
        """Stop the server. Open questions get no answer."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def _check(self, message: Any, _context: Any) -> Any:
        request = message.attributes.request
        question = CheckRequest(
            path=request.http.path,
            headers=dict(request.http.headers),
            since=request.time.seconds + request.time.nanos / 1e9,
        )
        return _answer(await self._decide(question))


def _answer(result: CheckResult) -> Any:
    if result.refusal is None:
        return ext_authz_messages.CheckResponse(
            ok_response={
                "headers": _headers(result.request, ext_authz_messages.OVERWRITE),
                "headers_to_remove": [GRPC_TIMEOUT],  # ends the timer of the wait
                "response_headers_to_add": _headers(result.reply, ext_authz_messages.APPEND),
            }
        )
    status, body = result.refusal
    return ext_authz_messages.CheckResponse(
        status={"code": _DENIED},
        denied_response={
            "status": {"code": status},
            "headers": _headers(result.reply, ext_authz_messages.OVERWRITE),
            "body": body,
        },
    )


def _headers(headers: Mapping[str, str], action: int) -> list[dict[str, Any]]:
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for name, value in headers.items()
    ]
