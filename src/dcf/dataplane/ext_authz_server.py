"""The service that Envoy asks about each call of the cold path, and that answers when it may go on.

Envoy keeps the call meanwhile: it reads no more of its body than fits its buffers. A client that
goes away ends the question. When the service is gone, Envoy asks again.
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
"""gRPC's PERMISSION_DENIED: any number but 0 would do."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A call that is to go on, or not.

    Attributes:
        path: Of its URL, with the query.
        headers: Those that the listener tells, by names in small letters.
        since: When it came, in seconds since the epoch; the same when Envoy asks again.
    """

    path: str
    headers: Mapping[str, str]
    since: float


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What becomes of a call.

    Attributes:
        refusal: Status and body of the reply, when it does not go on.
        request: Headers that are set in the request, when it goes on: one at least, or Envoy does
            not look anew where it leads.
        reply: Headers that are added to the reply, in either case.
    """

    refusal: tuple[int, str] | None = None
    request: Mapping[str, str] = field(default_factory=dict)
    reply: Mapping[str, str] = field(default_factory=dict)


CheckHandler = Callable[[CheckRequest], Awaitable[CheckResult]]
"""Answers when it knows; cancelled when nobody waits any more."""


class ExtAuthzServer:
    """The service. On one event loop."""

    def __init__(self, judge: CheckHandler) -> None:
        """A service at rest.

        Args:
            judge: Decides.
        """
        self._judge = judge
        self._server: Any = None

    async def start(self, path: Path) -> None:
        """Listens.

        Args:
            path: Of the Unix socket, in a private folder; what a killed service left there is
                replaced.

        Raises:
            AddressInUse: When it cannot be opened.
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
        """Ends the service; whoever asked is not answered any more."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def _check(self, message: Any, _context: Any) -> Any:
        request = message.attributes.request
        asked = CheckRequest(
            path=request.http.path,
            headers=dict(request.http.headers),
            since=request.time.seconds + request.time.nanos / 1e9,
        )
        return _answer(await self._judge(asked))


def _answer(verdict: CheckResult) -> Any:
    if verdict.refusal is None:
        return ext_authz_messages.CheckResponse(
            ok_response={
                "headers": _headers(verdict.request, ext_authz_messages.OVERWRITE),
                "headers_to_remove": [GRPC_TIMEOUT],  # the wait is over
                "response_headers_to_add": _headers(verdict.reply, ext_authz_messages.APPEND),
            }
        )
    status, body = verdict.refusal
    return ext_authz_messages.CheckResponse(
        status={"code": _DENIED},
        denied_response={
            "status": {"code": status},
            "headers": _headers(verdict.reply, ext_authz_messages.OVERWRITE),
            "body": body,
        },
    )


def _headers(headers: Mapping[str, str], action: int) -> list[dict[str, Any]]:
    return [
        {"header": {"key": name, "value": value}, "append_action": action}
        for name, value in headers.items()
    ]
