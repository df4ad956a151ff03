"""Gives every request an id, a line in the log, and a reply if an error is raised."""

from __future__ import annotations

import json
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dcf.controlplane.http.bodies import ClientDisconnected
from dcf.controlplane.http.paths import check_path
from dcf.controlplane.http.replies import as_problem, may_see_tracebacks
from dcf.errors import DcfError
from dcf.protocol import http, routes
from dcf.protocol.content import framing
from dcf.protocol.problem import without_traceback
from dcf.telemetry.ids import is_usable, new_request_id

logger = logging.getLogger("dcf.controlplane")

CLIENT_CLOSED = 499
"""Status in the log if the client disconnected before the reply began (nginx's number)."""

_QUIET = frozenset({routes.HEALTH.path, routes.METRICS.path})
"""Paths that monitoring requests every few seconds. They are logged at a lower level."""


class RequestMiddleware:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        exchange = _Exchange(scope, receive, send)
        try:
            check_path(scope["raw_path"].decode("latin-1"))
            await self._app(scope, receive, exchange.send)
        except ClientDisconnected:
            exchange.status = exchange.status or CLIENT_CLOSED
        except DcfError as error:
            await exchange.fail(error)
        except Exception:
            logger.exception("request %s: internal error", exchange.request_id)
            message = f"internal error; see the gateway's log of request {exchange.request_id}"
            await exchange.fail(DcfError(message))
        finally:
            exchange.log()


class _Exchange:
    """One request and its reply.

    Attributes:
        request_id: The id of both.
        status: The reply's status; 0 before the reply began.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.monotonic()
        headers = dict(scope["headers"])
        given = headers.get(http.REQUEST_ID.encode(), b"")
        usable = given if is_usable(given) else new_request_id()
        self.request_id = usable.decode()
        self.status = 0
        self._has_content = True
        self._state = scope["state"] = {"request_id": self.request_id, "stalled": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *self._framed(message["headers"]),
                (http.REQUEST_ID.encode(), self.request_id.encode()),
                (http.SERVER_TIMING.encode(), b"control;dur=%.1f" % self._ms()),
            ]
            if self._state["stalled"]:
                message["headers"].append((b"connection", b"close"))
        elif not self._has_content:
            message["body"] = b""
        await self._send(message)

    def _framed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the headers with the ``Content-Length`` that is valid for this reply."""
        size = dict(headers).get(b"content-length")
        head = self._scope["method"] == "HEAD"
        given = None if size is None else int(size)
        length, self._has_content = framing(self.status, given, head=head)
        others = [header for header in headers if header[0] != b"content-length"]
        return others if length is None else [*others, (b"content-length", b"%d" % length)]

    async def fail(self, error: DcfError) -> None:
        """Reply with an error. A reply that has begun is cut off instead."""
        if self.status:
            logger.warning("request %s was cut off: %s", self.request_id, error)
            return
        visible = error if may_see_tracebacks(self._scope) else without_traceback(error)
        await as_problem(visible, self.request_id)(self._scope, self._receive, self.send)

    def log(self) -> None:
        path = self._scope["path"]
        members = {
            "method": self._scope["method"],
            "path": path,
            "status": self.status,
            "ms": round(self._ms(), 1),
            "request_id": self.request_id,
        }
        logger.log(logging.DEBUG if path in _QUIET else logging.INFO, "%s", json.dumps(members))

    def _ms(self) -> float:
        return (time.monotonic() - self._started) * 1000
