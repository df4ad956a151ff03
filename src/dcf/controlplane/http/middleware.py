"""Around every request: its id, its time, its line in the log, and what becomes of errors."""

from __future__ import annotations

import json
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dcf.controlplane.http.bodies import ClientGone
from dcf.controlplane.http.paths import check_path
from dcf.controlplane.http.replies import as_problem, may_see_tracebacks
from dcf.errors import DcfError
from dcf.protocol import gateway, http
from dcf.protocol.content import framing
from dcf.protocol.problem import without_traceback
from dcf.telemetry.ids import is_usable, new_request_id

logger = logging.getLogger("dcf.controlplane")

GONE = 499
"""What the log says of a request whose client went away before the reply began; nginx's number."""

_QUIET = frozenset({gateway.HEALTHZ, gateway.METRICS})
"""Asked for every few seconds by machines."""


class RequestMiddleware:
    """Goes around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        exchange = _Exchange(scope, receive, send)
        try:
            check_path(scope["raw_path"].decode("latin-1"))
            await self._app(scope, receive, exchange.send)
        except ClientGone:
            exchange.status = exchange.status or GONE
        except DcfError as error:
            await exchange.fail(error)
        except Exception:
            told = exchange.request_id
            logger.exception("request %s: a defect of the gateway", told)
            await exchange.fail(DcfError(f"a defect of the gateway; its log tells more of {told}"))
        finally:
            exchange.log()


class _Exchange:
    """One request and its reply, as they go through.

    Attributes:
        request_id: Names both.
        status: The reply's; 0 before it began.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._begun = time.monotonic()
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
        """Return the headers with the ``Content-Length`` that this reply may have."""
        size = dict(headers).get(b"content-length")
        head = self._scope["method"] == "HEAD"
        given = None if size is None else int(size)
        length, self._has_content = framing(self.status, given, head=head)
        others = [header for header in headers if header[0] != b"content-length"]
        return others if length is None else [*others, (b"content-length", b"%d" % length)]

    async def fail(self, error: DcfError) -> None:
        """Answers with an error; a reply that has begun breaks off instead."""
        if self.status:
            logger.warning("request %s broke off: %s", self.request_id, error)
            return
        told = error if may_see_tracebacks(self._scope) else without_traceback(error)
        await as_problem(told, self.request_id)(self._scope, self._receive, self.send)

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
        return (time.monotonic() - self._begun) * 1000
