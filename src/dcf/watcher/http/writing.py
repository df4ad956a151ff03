"""Writes responses to an HTTP/1.x connection: whole ones, and those that ASGI sends in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcf.protocol.content import framing
from dcf.watcher.http.responses import Headers, Response
from dcf.watcher.http.third_party import STATUS_LINE, RequestResponseCycle

WORTH_JOINING = 64 * 1024
"""Up to this many bytes, joining a body to its head is cheaper than a second write."""

_format_header = b"%b: %b\r\n".__mod__


def write_response(
    write: Callable[[bytes], object], response: Response, *, head: bool, last: bool
) -> None:
    """Write a whole response.

    Args:
        write: Writes bytes to the connection.
        response: The response.
        head: Whether the request's method is HEAD.
        last: Whether the connection closes after the response.
    """
    status, headers, body = response
    length, has_content = framing(status, None if body is None else len(body), head=head)
    parts = [STATUS_LINE[status], *map(_format_header, headers)]
    if last:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n" if length is None else b"content-length: %d\r\n\r\n" % length)
    if body and has_content:
        if len(body) > WORTH_JOINING:
            write(b"".join(parts))
            write(body)
            return
        parts.append(body)
    write(b"".join(parts))


class ReplyCycle(RequestResponseCycle):
    """uvicorn's ASGI cycle, except that it frames replies by :func:`framing`.

    uvicorn sends any length that the application names, and sends chunks even to HTTP/1.0.
    """

    _has_content = True

    async def send(self, message: Any) -> None:
        """Send a part of the reply."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._send_head(message["status"], message["headers"])
        else:
            self._send_content(message["body"], more=message.get("more_body", False))

    def _send_head(self, status: int, headers: Headers) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        size = None
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            if name == b"content-length":
                size = int(value)
            elif name == b"connection":
                self.keep_alive = False  # the application sends no value but close
            else:
                parts.append(b"%b: %b\r\n" % (name, value))
        length, self._has_content = framing(status, size, head=self.scope["method"] == "HEAD")
        self.chunked_encoding = self._has_content and length is None
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif self.chunked_encoding and self.scope["http_version"] != "1.1":
            self.chunked_encoding = self.keep_alive = False  # the close ends the content
        elif self.chunked_encoding:
            parts.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        self.transport.write(b"".join(parts))

    def _send_content(self, body: bytes, *, more: bool) -> None:
        if self._has_content:
            parts = [b"%x\r\n" % len(body), body, b"\r\n"] if self.chunked_encoding else [body]
            if not body:
                parts = []
            if self.chunked_encoding and not more:
                parts.append(b"0\r\n\r\n")
            if parts:
                self.transport.write(b"".join(parts))
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
